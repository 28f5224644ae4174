"""Interface of a processing function: a Python file that computes images or values from the frames of a stream.

    from dataclasses import dataclass, field
    from RealTimeImagingLib.Processing.Function import Parameters, Result, about

    @dataclass(frozen=True)
    class Threshold(Parameters):
        level: float = field(default=100.0, metadata=about("Level", "Voxels above it are kept.", limits=(0, 1e6)))

    PARAMETERS = Threshold
    current = Threshold()

    def setup(parameters, first):
        global current
        current = parameters

    def process(frame):
        above = frame.pixels > current.level
        return Result(frame.pixels * above, values={"voxels": above.sum()})

Names that the file may have; only ``process`` must be there:

``process(frame)``
    Called with each :class:`Model.Frame.Frame`. The pixels are read-only, have the shape (k, j, i) or
    (k, j, i, 3 or 4), and are valid during the call only: copy them to keep them. Returns an image as an array or a
    :class:`Result`, or None for no result.
``setup(parameters, first)``
    Called before the first frame, and again before the next frame when a parameter has changed. ``parameters`` is an
    instance of ``PARAMETERS``, or None without them. ``first`` is the frame that ``process`` gets next. State that
    does not depend on the changed parameters may stay.
``pause()``
    Called when no frame has come for a second, and at the end of the stream: such as for the image of all frames since
    the last image. Returns an image of the last frame, an array or a :class:`Result` without values, or None.
``close()``
    Called at the end, also after an error.
``PARAMETERS``
    A frozen dataclass derived from :class:`Parameters`. Each field has a default, and a description by :func:`about`.
``REQUIREMENTS``
    Requirements for pip, such as ``("onnxruntime>=1.17,<2",)``.
``TITLE``
    Name of the function for the user; without it, the name of the file.

The module is imported once in a process, so its variables are the state of one running function. The built-in functions
keep their state in one object and name its methods: ``setup, process = function.setup, function.process``.

An error of :mod:`Model.Errors` is a sentence for the user. Any other error is a fault of the function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..Model.Settings import DescribedSettings, about

__all__ = ["Parameters", "Result", "about"]

MOST_VALUES, LONGEST_NAME = 1000, 200
"""Most values of a result, and most characters of the name of one."""


class Parameters(DescribedSettings):
    """Base class of the parameters of a function: a frozen dataclass whose fields describe themselves, see about()."""


@dataclass(frozen=True, eq=False)
class Result:
    """Values and an image of one frame.

    :param pixels: image as :func:`Model.Frame.imageOf` takes it; None for no image.
    :param values: at most 1000 numbers by name; NaN for a value that is not known. A name has 1 to 200 printable
        characters, and is neither "Frame" nor "Time", the columns of every table of values.
    :param attributes: text by name, for the attributes of the image.
    :param ijkToRAS: geometry of the image, 4x4, voxel index (i, j, k) to millimetres in RAS; None for the frame's.
    """

    pixels: Any = None
    values: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    ijkToRAS: Any = None
