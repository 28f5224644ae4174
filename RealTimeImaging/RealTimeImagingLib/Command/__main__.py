"""python -m RealTimeImagingLib.Command SOURCE ... --openigtlink PORT; or python .../RealTimeImagingLib/Command ..."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

# Run as a file, Python knows nothing of the library's folder; the folder of this file must not hide other packages.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from RealTimeImagingLib.Command.Console import Console, acquire
from RealTimeImagingLib.Command.Options import readOptions
from RealTimeImagingLib.Link.Lines import LineLogHandler

LAST_WORDS = 2.0
"""Seconds for the last lines to leave."""


def main() -> int:
    """Run the command; returns the exit code."""
    plan = readOptions()
    # A command or a client shall not wait while another thread computes.
    sys.setswitchinterval(0.0005)
    stopped = threading.Event()
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, lambda *_: stopped.set())
    console = Console(sys.stdout.fileno())
    logging.basicConfig(level=logging.WARNING, handlers=[LineLogHandler(lambda line: console.put(line, always=False))])
    code = acquire(plan, console, stopped)
    console.close(LAST_WORDS)
    return code


if __name__ == "__main__":
    code = main()
    # A source that hangs would keep the interpreter from ending.
    sys.stdout.flush()
    os._exit(code)
