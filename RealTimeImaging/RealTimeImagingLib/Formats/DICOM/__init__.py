"""DICOM files, also while they grow, and the slices that make a volume."""
