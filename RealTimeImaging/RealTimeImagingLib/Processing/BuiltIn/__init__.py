"""Processing functions that come with the module, one file each; the interface is that of Function.py."""

NAMES = (
    "RegionStatistics",
    "TemporalSNR",
    "Difference",
    "RigidMotion",
    "PRFThermometry",
    "Averaging",
    "SpatialFilter",
    "ONNXSegmentation",
    "VolumeReconstruction",
)
"""Names of the functions' modules."""
