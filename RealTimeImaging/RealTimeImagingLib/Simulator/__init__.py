"""A scanner that is none: a process of its own that writes images into a folder, for trying, showing and testing."""
