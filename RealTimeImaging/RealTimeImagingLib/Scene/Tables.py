"""Table nodes of columns of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import vtk


def showColumns(scene: Any, name: str, columns: Mapping[str, Sequence[Any]]) -> Any:
    """Put columns into the table node of a name, which is made when there is none; return the node.

    :param columns: values by title, equally many in each column; texts, or numbers.
    """
    node = scene.GetFirstNode(name, "vtkMRMLTableNode") or scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    table = vtk.vtkTable()
    for title, values in columns.items():
        texts = any(isinstance(value, str) for value in values)
        column = vtk.vtkStringArray() if texts else vtk.vtkDoubleArray()
        column.SetName(title)
        column.SetNumberOfValues(len(values))
        for row, value in enumerate(values):
            column.SetValue(row, value)
        table.AddColumn(column)
    node.SetAndObserveTable(table)
    return node
