"""Nodes of the scene as parameters of functions: regions as text, label maps and volumes as files."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from ..Model.Errors import SettingsError
from ..Model.Text import textsOf
from ..Processing.Regions import Box

_ = textsOf(__file__)

NODES = {
    "regions": ("vtkMRMLMarkupsROINode",),
    "labels": ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode"),
    "volume": ("vtkMRMLScalarVolumeNode",),
}
"""Classes of the nodes for each value of ``Setting.nodes``."""
_SEPARATORS = str.maketrans(dict.fromkeys(":;,", " "))


def regionName(node: Any) -> str:
    """Return the name of a region of a markups ROI, without the characters that separate regions."""
    return " ".join(str(node.GetName()).translate(_SEPARATORS).split()) or "ROI"


def regionText(node: Any) -> str:
    """Return a markups ROI as text, see Processing/Regions.py; empty for one without a size."""
    matrix = slicer.util.arrayFromVTKMatrix(node.GetObjectToWorldMatrix())
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    size = np.array(node.GetSize()) * lengths
    if not np.all(size > 0):
        return ""
    axes = (matrix[:3, :3] / lengths).T.ravel()
    numbers = (tuple(round(float(one), 6) for one in part) for part in (matrix[:3, 3], size, axes))
    return str(Box(regionName(node), *numbers))


def replacedRegion(texts: tuple[str, ...], node: Any) -> tuple[str, ...]:
    """Return regions in which that of a markups ROI is as the node is now; it is added when it is missing."""
    name, text = regionName(node), regionText(node)
    found = [one.rpartition(":")[0].strip() == name for one in texts]
    if not text:
        return texts
    return tuple(text if mine else one for one, mine in zip(texts, found, strict=True)) + (
        () if any(found) else (text,)
    )


def contentTime(node: Any) -> int:
    """Return a number that grows when the voxels or the place of a segmentation or volume change."""
    if node.IsA("vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        kind = segmentation.GetSourceRepresentationName()
        segments = [segmentation.GetNthSegment(place) for place in range(segmentation.GetNumberOfSegments())]
        # An edit changes the voxels of a segment, and nothing above it.
        parts = [node, segmentation, *segments, *(one.GetRepresentation(kind) for one in segments)]
        return max(int(one.GetMTime()) for one in parts if one is not None)
    image = node.GetImageData()
    return max(int(node.GetMTime()), int(image.GetMTime()) if image is not None else 0)


def writeNode(node: Any, path: str) -> str:
    """Write a segmentation or volume to a new file; the node keeps its own file name. Return the path.

    :param path: without an ending.
    :raises SettingsError: the node is empty or cannot be written, or a transform moves it.
    """
    if node.GetParentTransformNode() is not None:
        raise SettingsError(_("Harden the transform of {name} first.").format(name=node.GetName()))
    segments = node.IsA("vtkMRMLSegmentationNode")
    empty = node.GetSegmentation().GetNumberOfSegments() == 0 if segments else node.GetImageData() is None
    if empty:
        raise SettingsError(_("{name} is empty.").format(name=node.GetName()))
    storage = slicer.vtkMRMLSegmentationStorageNode() if segments else slicer.vtkMRMLNRRDStorageNode()
    path += ".seg.nrrd" if segments else ".nrrd"
    storage.SetFileName(path)
    if not storage.WriteData(node):
        raise SettingsError(_("{name} could not be written to {path}.").format(name=node.GetName(), path=path))
    return path
