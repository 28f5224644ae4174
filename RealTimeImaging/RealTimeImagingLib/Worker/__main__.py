"""Started by Slicer's side as a file: python -u .../RealTimeImagingLib/Worker/__main__.py"""

import os
import sys

# Slicer's Python knows nothing of the module's folder; the folder of this file must not hide other packages.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from RealTimeImagingLib.Worker.Worker import main

if __name__ == "__main__":
    code = main()
    # Threads that wait for input or output would keep the interpreter from ending.
    sys.stdout.flush()
    os._exit(code)
