"""How the frames of a part move: ``NAME.poses.seq.mha``, a sequence of linear transforms that Slicer opens.

The format is that of vtkMRMLLinearTransformSequenceStorageNode (Slicer, Libs/MRML/Core): a MetaImage header with no
voxels and two lines a frame, a 4x4 matrix row by row and its index.

- The matrix is Slicer's transform to parent, in RAS and millimetres, as it is: nothing is turned to LPS on the way.
- With the volume sequence of the part's header below it, each frame lies where its own IJKToRAS says. The transform
  acts on world points, so that it does not matter that Slicer's reader flips left-handed frames.
- The index is rounded to 0.001 when it is read. It is written in the unit of the part's header, so that a sequence
  browser finds for each volume its transform; Slicer's reader calls the unit "s" in either case.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..Frame import Matrix

_HEAD = """ObjectType = Image
NDims = 3
AnatomicalOrientation = RAI
BinaryData = True
CompressedData = False
DimSize = 0 0 {count}
ElementSpacing = 1 1 1
Offset = 0 0 0
TransformMatrix = 1 0 0 0 1 0 0 0 1
ElementType = MET_UCHAR
Kinds = domain domain list
"""
_NONE = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"


def composePoses(
    ijkToRAS: Sequence[float], matrices: Sequence[Sequence[float] | None], indexValues: Sequence[str]
) -> bytes:
    """The text of a part's poses.

    :param ijkToRAS: of the part, 16 numbers row by row, millimetres.
    :param matrices: of each frame, the same; None: that of the part.
    :param indexValues: of each frame, as in the part's header.
    """
    part: Matrix = np.array(ijkToRAS).reshape(4, 4)
    out = [_HEAD.format(count=len(matrices))]
    for number, (matrix, index) in enumerate(zip(matrices, indexValues, strict=True)):
        text = _NONE if matrix is None else _transform(np.array(matrix).reshape(4, 4), part)
        out.append(f"Seq_Frame{number:04d}_PoseTransform = {text}\n")
        out.append(f"Seq_Frame{number:04d}_PoseTransformStatus = OK\n")
        out.append(f"Seq_Frame{number:04d}_Timestamp = {index}\n")
    out.append("ElementDataFile = LOCAL\n")
    return "".join(out).encode("ascii")


def _transform(matrix: Matrix, part: Matrix) -> str:
    """``matrix`` times the inverse of ``part``, with a last row that is exactly 0 0 0 1."""
    transform = np.eye(4)
    transform[:3, :3] = matrix[:3, :3] @ np.linalg.inv(part[:3, :3])
    transform[:3, 3] = matrix[:3, 3] - transform[:3, :3] @ part[:3, 3]
    # repr: every float64 comes back as it was. Plus 0.0: no "-0.0".
    return " ".join(repr(value + 0.0) for value in transform.ravel().tolist())
