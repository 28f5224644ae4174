"""Started by Slicer's side as a file: python -u .../RealTimeImagingLib/Sources/Camera/__main__.py"""

import os
import sys

# Slicer's Python knows nothing of the module's folder; the folder of this file must not hide other packages.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from RealTimeImagingLib.Sources.Camera.Search import main

if __name__ == "__main__":
    sys.exit(main())
