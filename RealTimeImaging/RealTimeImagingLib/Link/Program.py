"""The program of all child processes: python -u .../RealTimeImagingLib/Link/Program.py NAME [ARGUMENT ...]

The process tells its own number before all imports: it may run behind a launcher, and Slicer must be able to end it.
Processes that a conversion starts import this file, too, under another name than __main__.
"""

import importlib
import os
import sys

# Slicer's Python knows nothing of the module's folder; the folder of this file must not hide other packages.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

PROGRAMS = {
    "acquisition": "Worker.Worker",
    "cameras": "Sources.Camera.Search",
    "conversion": "Conversion.Worker",
    "description": "Processing.Description",
    "export": "Export.Worker",
    "function": "Processing.Runner",
    "simulator": "Simulator.__main__",
}
"""Modules with a main() that returns the exit code, by the name of the program."""

if __name__ == "__main__":
    os.write(1, b'{"pid":%d}\n' % os.getpid())
    code = importlib.import_module(f"RealTimeImagingLib.{PROGRAMS[sys.argv.pop(1)]}").main()
    # Threads that wait for input or output would keep the interpreter from ending.
    sys.stdout.flush()
    os._exit(code)
