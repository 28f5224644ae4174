"""Run by every Python below a torture before all else: a clock that can be wrong, and deliberate faults.

Only a torture has this folder in PYTHONPATH.
"""

import os

if os.environ.get("TORTURE_CLOCK"):
    import mmap
    import struct
    import time

    with open(os.environ["TORTURE_CLOCK"], "rb") as _file:
        _error = mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ)
    _time, _unpack = time.time, struct.Struct("<d").unpack_from

    def _wrong() -> float:
        return _time() + _unpack(_error)[0]  # type: ignore[no-any-return]

    time.time = _wrong
    time.time_ns = lambda: int(1e9 * _wrong())

if os.environ.get("TORTURE_FAULT"):
    import importlib.util

    # This file runs before any other may be importable.
    _spec = importlib.util.spec_from_file_location(
        "tortureFaults", os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "Faults.py")
    )
    if _spec and _spec.loader:
        _faults = importlib.util.module_from_spec(_spec)
        _spec.loader.exec_module(_faults)
        _faults.install(os.environ["TORTURE_FAULT"])
