"""The acquisition process without Slicer, for the computer beside the scanner: a source, sent on over OpenIGTLink."""
