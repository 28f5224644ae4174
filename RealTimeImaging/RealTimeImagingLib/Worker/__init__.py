"""The acquisition process: runs a source, numbers and records its frames, and passes them on."""
