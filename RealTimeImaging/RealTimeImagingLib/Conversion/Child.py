"""Started by Slicer's side as a file: python -u .../RealTimeImagingLib/Conversion/Child.py

The processes beside it import this file, too, under another name than __main__.
"""

import os
import sys

# Slicer's Python knows nothing of the module's folder; the folder of this file must not hide other packages.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from RealTimeImagingLib.Conversion.Worker import main  # noqa: E402

if __name__ == "__main__":
    code = main()
    # Threads that wait for input or output would keep the interpreter from ending.
    sys.stdout.flush()
    os._exit(code)
