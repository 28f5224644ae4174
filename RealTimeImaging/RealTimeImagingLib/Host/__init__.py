"""Slicer's side of the processes, on its main thread: sources, display, callbacks, recordings and jobs."""
