"""The header of the files that are written: NRRD, raw, attached; one volume, or a sequence as Slicer reads it.

The format: "Definition of NRRD File Format" (teem); that of sequences as in Recording/Header, which says the sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..Frame import ATTRIBUTE_NAME, Matrix
from ..Recording.Header import TYPES, escaped, indexValues, vector


def composeHeader(
    dtype: np.dtype[np.generic],
    shape: Sequence[int],
    ijkToLPS: Matrix,
    count: int | None,
    times: Sequence[float] | None,
    pairs: Mapping[str, str],
) -> bytes:
    """The bytes before the voxels.

    :param shape: (k, j, i) or (k, j, i, components) of one volume.
    :param ijkToLPS: 4x4 float64, millimetres; the axes need not be at right angles.
    :param count: volumes of a sequence; None for a single one.
    :param times: of each volume, seconds since the first; None: they are numbered.
    :param pairs: keys and their values; names that NRRD cannot keep are left out.
    """
    components = list(shape[3:])
    none, kinds = (["none"], ["RGB-color" if dtype == np.uint8 else "vector"]) if components else ([], [])
    several, last = ([], []) if count is None else ([count], ["none"])
    fields = [
        "NRRD0005",
        f"type: {TYPES[dtype.str[1:]]}",
        f"dimension: {3 + len(components) + len(several)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, [*components, *reversed(shape[:3]), *several]))}",
        f"space directions: {' '.join([*none, *(vector(ijkToLPS[:3, axis]) for axis in range(3)), *last])}",
        f"kinds: {' '.join([*kinds, 'domain', 'domain', 'domain', *(['list'] if several else [])])}",
    ]
    keys: dict[str, str] = {}
    if count is not None:
        unit, values = indexValues(times) if times else ("", [str(number) for number in range(count)])
        label = "time" if unit else "volume"
        blank = ['""'] * (3 + len(components))
        fields += [f'labels: {" ".join(blank)} "{label}"', f'units: {" ".join(blank)} "{unit}"']
        keys = {
            "DataNodeClassName": "vtkMRMLVectorVolumeNode" if components else "vtkMRMLScalarVolumeNode",
            # Slicer calls the axis of the volumes 3 also where, with an axis of components before, it is 4.
            "axis 3 index type": "numeric",
            "axis 3 index values": " ".join(values),
        }
    fields += ["endian: little", "encoding: raw", f"space origin: {vector(ijkToLPS[:3, 3])}"]
    keys |= {name: value for name, value in pairs.items() if ATTRIBUTE_NAME.fullmatch(name)}
    lines = [*fields, *(f"{name}:={escaped(value)}" for name, value in keys.items())]
    return "\n".join(lines).encode("utf-8", "replace") + b"\n\n"
