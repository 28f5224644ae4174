"""Writes recordings and snapshots in other formats, in a process of its own, and reads back what it wrote.

    ExportProcess (Slicer) ──job──► Worker ──► Frames ──► a writer ──► Output, unfinished ──► Comparison ──► named
                  ▲                    │
                  └── progress, done ──┘

A file has its name only after it was read back and found equal; a file that is not is removed. Nothing is overwritten.
"""
