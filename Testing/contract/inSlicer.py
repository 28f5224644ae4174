"""Files of a recording as the storage nodes of unmodified Slicer read them."""

from __future__ import annotations

import numpy as np
import vtk


def posesInSlicer(slicer, path):
    """(seconds, matrix) of each pose, as Slicer's own storage node reads them."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformSequenceStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node), storage.GetUserMessages().GetAllMessagesAsString()
    matrix, found = vtk.vtkMatrix4x4(), []
    for index in range(node.GetNumberOfDataNodes()):
        node.GetNthDataNode(index).GetMatrixTransformToParent(matrix)
        found.append((float(node.GetNthIndexValue(index)), slicer.util.arrayFromVTKMatrix(matrix)))
    slicer.mrmlScene.RemoveNode(storage)
    slicer.mrmlScene.RemoveNode(node)
    return found


class InSlicer:
    """A recording as unmodified Slicer reads it."""

    def __init__(self, slicer, path):
        self._slicer = slicer
        self.node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
        self._storage = slicer.vtkMRMLVolumeSequenceStorageNode()
        self._storage.SetScene(slicer.mrmlScene)
        self._storage.SetFileName(str(path))
        assert self._storage.ReadData(self.node), self._storage.GetUserMessages().GetAllMessagesAsString()

    @property
    def count(self):
        return self.node.GetNumberOfDataNodes()

    @property
    def times(self):
        """Seconds."""
        factor = {"s": 1.0, "ms": 1000.0}[self.node.GetIndexUnit()]
        return [float(self.node.GetNthIndexValue(index)) / factor for index in range(self.count)]

    def item(self, index):
        return self.node.GetNthDataNode(index)

    def atVoxels(self, index, ijkToRAS):
        """The item's pixels, taken at the world points of the voxels of a frame with this geometry."""
        item = self.item(index)
        array = self._slicer.util.arrayFromVolume(item)
        matrix = self._slicer.util.arrayFromVTKMatrix(self._matrix(item))
        shape = array.shape[:3]
        k, j, i = np.indices(shape)
        world = ijkToRAS @ np.stack([i.ravel(), j.ravel(), k.ravel(), np.ones(i.size)])
        places = np.rint(np.linalg.inv(matrix) @ world).astype(int)
        assert np.allclose(matrix @ places, world, atol=1e-6)
        return array[places[2], places[1], places[0]].reshape(array.shape)

    @staticmethod
    def _matrix(item):
        matrix = vtk.vtkMatrix4x4()
        item.GetIJKToRASMatrix(matrix)
        return matrix
