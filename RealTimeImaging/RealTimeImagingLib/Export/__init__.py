"""Export of recordings and snapshots to other formats, in a process of its own that verifies each file.

    ExportProcess (Slicer) ──job──► Worker ──► Frames ──► a writer ──► Output, unfinished ──► Comparison ──► named
                  ▲                    │
                  └── progress, done ──┘

A file gets its name only after it was read back and found equal; otherwise it is removed. No file is overwritten.
"""
