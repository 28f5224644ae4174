"""MRML nodes and views: how frames, device messages and recordings appear in Slicer."""
