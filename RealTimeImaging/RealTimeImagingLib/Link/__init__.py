"""The border between processes: shared memory, and messages as lines of JSON."""

from __future__ import annotations

import os

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Program.py")
"""Path of the program of all child processes."""
