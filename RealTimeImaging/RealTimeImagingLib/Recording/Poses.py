"""Sequences of linear transforms that Slicer opens: ``NAME.poses.seq.mha``, how the frames of a part move, and those of
devices (PoseFile.py).

The format is that of vtkMRMLLinearTransformSequenceStorageNode (Slicer, Libs/MRML/Core): a MetaImage header with no
voxels and for each pose a 4x4 matrix row by row and its index. Fields that the reader does not know are passed over.

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

_HEAD = """NDims = 3
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
POSE_FIRST = "ObjectType = Image\n"
POSE_END = "ElementDataFile = LOCAL\n"
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
    out = [POSE_FIRST, poseHead(str(len(matrices)))]
    for number, (matrix, index) in enumerate(zip(matrices, indexValues, strict=True)):
        text = _NONE if matrix is None else _transform(np.array(matrix).reshape(4, 4), part)
        out.append(poseLines(number, text, index))
    out.append(POSE_END)
    return "".join(out).encode("ascii")


def poseHead(count: str) -> str:
    """What stands between the first line and the poses.

    :param count: how many there are; spaces may follow.
    """
    return _HEAD.format(count=count)


OK = "OK"
"""Status of a pose whose tool the tracker sees."""


def poseLines(number: int, matrix: str, index: str, status: str = OK) -> str:
    """One pose.

    :param number: from 0.
    :param matrix: 16 numbers row by row.
    :param index: what the reader rounds to 0.001.
    :param status: one word.
    """
    frame = f"Seq_Frame{number:04d}_"
    return f"{frame}PoseTransform = {matrix}\n{frame}PoseTransformStatus = {status}\n{frame}Timestamp = {index}\n"


def matrixText(matrix: Sequence[float]) -> str:
    """:param matrix: 16 numbers row by row."""
    # repr: every float64 comes back as it was. Plus 0.0: no "-0.0".
    return " ".join([repr(value + 0.0) for value in matrix])


def _transform(matrix: Matrix, part: Matrix) -> str:
    """``matrix`` times the inverse of ``part``, with a last row that is exactly 0 0 0 1."""
    transform = np.eye(4)
    transform[:3, :3] = matrix[:3, :3] @ np.linalg.inv(part[:3, :3])
    transform[:3, 3] = matrix[:3, 3] - transform[:3, :3] @ part[:3, 3]
    return matrixText(transform.ravel().tolist())
