"""The sample data of the module: ``python -m samples FOLDER`` makes the archives again from their origin.

The origin is part of the package nibabel: ``phantom_EPI_asc_CLEAR_2_1.PAR``, three volumes of a phantom from a Philips
Achieva scanner, in the public domain (PDDL 1.0, http://psydata.ovgu.de/philips_achieva_testfiles).
"""

from __future__ import annotations

import gzip
import io
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import PIL.Image

ORIGIN = Path(nibabel.__file__).with_name("tests") / "data" / "phantom_EPI_asc_CLEAR_2_1.PAR"
NIFTI, DICOM = "RealTimeImaging-MRPhantom", "RealTimeImaging-MRPhantomDICOM"
REPETITION = 2.0
"""Seconds between two volumes."""
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def phantom():
    """Return stored values (time, k, j, i) uint16, and the matrix from indices to RAS in mm."""
    image = nibabel.load(ORIGIN)
    return np.ascontiguousarray(image.dataobj.get_unscaled().T).astype(np.uint16), image.affine


def niftiFiles():
    """Return the NIfTI files by name: one volume each."""
    volumes, affine = phantom()
    return {
        f"phantom_{number:04}.nii.gz": gzip.compress(nibabel.Nifti1Image(volume.T, affine).to_bytes(), 9, mtime=0)
        for number, volume in enumerate(volumes, 1)
    }


def dicomFiles():
    """Return the DICOM files by name: one slice each, MR Image Storage (PS3.3 section A.4)."""
    volumes, affine = phantom()
    return {
        f"IM{number:04}.dcm": _slice(volumes[time, k], affine, time, k, number)
        for number, (time, k) in enumerate(np.ndindex(volumes.shape[:2]), 1)
    }


def _slice(pixels, affine, time, k, number):
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

    def uid(*parts):
        return pydicom.uid.generate_uid(entropy_srcs=["Real-Time Imaging, sample data", *map(str, parts)])

    lps = LPS @ affine
    right, down = lps[:3, 0], lps[:3, 1]
    spacing = [float(np.linalg.norm(one)) for one in (right, down, lps[:3, 2])]
    data = pydicom.Dataset()
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, uid("instance", number)
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = uid("study"), uid("series"), uid("frame")
    data.SpecificCharacterSet, data.Modality, data.Manufacturer = "ISO_IR 192", "MR", "Philips"
    data.ImageType = ["DERIVED", "PRIMARY", "M"]
    data.DerivationDescription = "Converted from PAR/REC"
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = "Phantom", "Phantom", "", "O"
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = "20140214"
    data.StudyTime = data.SeriesTime = "090057"
    data.AcquisitionTime = data.ContentTime = f"0900{57 + round(time * REPETITION)}" if time < 2 else "090101"
    data.StudyID, data.AccessionNumber, data.ReferringPhysicianName = "1", "", ""
    data.SeriesDescription, data.SeriesNumber, data.AcquisitionNumber = "EPI phantom", 2, int(time) + 1
    data.InstanceNumber, data.TemporalPositionIdentifier, data.NumberOfTemporalPositions = number, int(time) + 1, 3
    data.ScanningSequence, data.SequenceVariant, data.ScanOptions, data.MRAcquisitionType = "EP", "NONE", "", "2D"
    data.RepetitionTime, data.EchoTime, data.EchoTrainLength = 1000 * REPETITION, "", 39
    data.PositionReferenceIndicator, data.PatientPosition = "", "HFS"
    data.SliceThickness = f"{spacing[2]:.6g}"
    data.PixelSpacing = [f"{one:.6g}" for one in (spacing[1], spacing[0])]
    data.ImageOrientationPatient = [f"{one:.9f}"[:16] for one in (*(right / spacing[0]), *(down / spacing[1]))]
    data.ImagePositionPatient = [f"{one:.9f}"[:16] for one in (lps @ [0, 0, k, 1])[:3]]
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelData = pixels.astype("<u2").tobytes()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = io.BytesIO()
    pydicom.dcmwrite(file, data, enforce_file_format=True)
    return file.getvalue()


def archive(files):
    """Return a ZIP archive, which is the same whenever it is made."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as zipped:
        for name, data in sorted(files.items()):
            zipped.writestr(zipfile.ZipInfo(name, (2014, 2, 14, 9, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def thumbnail():
    """Return a PNG of 260 x 280 pixels: the slice in the middle, on black."""
    volumes, _affine = phantom()
    plane = volumes[0, volumes.shape[1] // 2][::-1].astype(float)
    grey = PIL.Image.fromarray((255 * plane / plane.max()).astype(np.uint8)).resize((260, 260), PIL.Image.BICUBIC)
    picture = PIL.Image.new("L", (260, 280))
    picture.paste(grey, (0, 10))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def main(folder):
    """Write the archives and the thumbnail into the module's Resources."""
    samples = Path(folder) / "SampleData"
    samples.mkdir(parents=True, exist_ok=True)
    for name, files in ((NIFTI, niftiFiles()), (DICOM, dicomFiles())):
        (samples / f"{name}.zip").write_bytes(archive(files))
    (Path(folder) / "Icons" / "MRPhantom.png").write_bytes(thumbnail())


if __name__ == "__main__":
    main(sys.argv[1])
