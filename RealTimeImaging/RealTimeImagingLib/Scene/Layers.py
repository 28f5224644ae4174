"""Read and set the volumes in the background and foreground of the slice views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

LAYERS = ("Background", "Foreground")


def composites(scene: Any) -> Iterator[Any]:
    """The vtkMRMLSliceCompositeNode of each slice view."""
    nodes = scene.GetNodesByClass("vtkMRMLSliceCompositeNode")
    nodes.UnRegister(None)
    for index in range(nodes.GetNumberOfItems()):
        yield nodes.GetItemAsObject(index)


def volumeIn(composite: Any, layer: str) -> str:
    """ID of the volume in "Background" or "Foreground"; empty when there is none."""
    return getattr(composite, f"Get{layer}VolumeID")() or ""


def setVolumeIn(composite: Any, layer: str, nodeID: str) -> None:
    """Put a volume into "Background" or "Foreground"; zoom, position and slice stay."""
    getattr(composite, f"Set{layer}VolumeID")(nodeID)


def layersOf(scene: Any, nodeID: str) -> list[tuple[Any, str]]:
    """The composite nodes and layers that show a volume."""
    return [(one, layer) for one in composites(scene) for layer in LAYERS if volumeIn(one, layer) == nodeID]
