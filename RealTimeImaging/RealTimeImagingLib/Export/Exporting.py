"""One export from its job to named files, in the process that does it."""

from __future__ import annotations

from ..Event import Event
from .DICOMFiles import DICOMFolder
from .Frames import openFrames
from .Job import ExportJob
from .NIfTIFiles import NIfTIFile, PackedNIfTIFile
from .NRRDFiles import SequenceFile, VolumeFile
from .Work import Work
from .Writer import Writer

WRITERS: dict[str, type[Writer]] = {
    "nrrd": VolumeFile,
    "seq.nrrd": SequenceFile,
    "nii": NIfTIFile,
    "nii.gz": PackedNIfTIFile,
    "dicom": DICOMFolder,
}
"""By the formats of :data:`Job.FORMATS`."""


def export(job: ExportJob, work: Work) -> tuple[list[str], list[Event]]:
    """Write, read back, compare, and only then give the files their names.

    :returns: the paths of the files, and what somebody should know of them.
    :raises RealTimeImagingError: it cannot be done as asked, or what was written is another; nothing is left.
    :raises OSError: something cannot be read or written; nothing is left.
    :raises Cancelled: ``work`` was; nothing is left.
    """
    work.step(0, "Opening")
    frames = openFrames(job)
    writer = WRITERS[job.format](frames, job, work)
    output = writer.output(job.base, work)
    if not writer.packs:
        output.needs(frames.bytes)
    work.begin(2 * frames.bytes)
    try:
        writer.write(output)
        writer.compare(output)
        work.commit()
        return output.finish(), writer.events
    except BaseException:
        output.discard()
        raise
