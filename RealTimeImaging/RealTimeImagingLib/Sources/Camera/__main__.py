"""Started by Slicer's side as a file: python -u .../RealTimeImagingLib/CameraSearch/__main__.py"""

from __future__ import annotations

import os
import sys

from RealTimeImagingLib.Sources.Camera.Search import main

# Slicer's Python knows nothing of the module's folder; the folder of this file must not hide other packages.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

if __name__ == "__main__":
    sys.exit(main())
