"""Wrong files are found and removed; the tests damage the program that writes them."""

import numpy as np
import pytest
from RealTimeImagingLib.Export.Comparison import Different, compareImage
from RealTimeImagingLib.Model.Frame import Image
from unit.exports import FORMATS, Program, listing, program, recorded

SPOILT_PIXEL = """
whole = Output.OutputFile.writePixels
def writePixels(self, pixels):
    pixels = pixels.copy()
    pixels.reshape(-1)[-1] ^= 1
    whole(self, pixels)
Output.OutputFile.writePixels = writePixels
"""
SPOILT_PACKED = """
import gzip
whole = gzip.GzipFile.write
def write(self, data):
    return whole(self, bytes([data[0] ^ 1]) + bytes(data[1:]) if len(data) < 99 else data)  # not the header
gzip.GzipFile.write = write
"""
LOST_END = """
whole = Output.OutputFile.close
def close(self):
    if self._handle != -1:
        os.ftruncate(self._handle, self.size - 10)
    whole(self)
Output.OutputFile.close = close
"""
SHIFTED = """
import numpy
moved = numpy.eye(4)
moved[0, 3] = 0.01
whole = NIfTIFiles.header
NIfTIFiles.header = lambda frames, matrix: whole(frames, moved @ matrix)
turned = DICOMImages.rightHanded
def rightHanded(matrix, slices):
    found, flipped = turned(matrix, slices)
    return moved @ found, flipped
DICOMFiles.rightHanded = rightHanded
compose = NRRDFiles.composeFields
NRRDFiles.composeFields = lambda dtype, shape, matrix: compose(dtype, shape, moved @ matrix)
"""
MIRRORED = """
DICOMFiles.rightHanded = lambda matrix, slices: (DICOMImages.LPS_TO_RAS @ matrix, True)
"""
OTHER_WORDS = """
escaped = NRRDFiles.escaped
NRRDFiles.escaped = lambda value: escaped(value).replace("Lepr", "lepr")
compose = NRRDFiles.composeHeader
NRRDFiles.composeHeader = lambda *given: compose(*given).replace(b"\\nStrain:=BKS", b"\\nStrain:=bks")
dumps = NIfTIFiles.json.dumps
NIfTIFiles.json.dumps = lambda *given, **more: dumps(*given, **more).replace("Lepr", "lepr")
write = Output.OutputFile.write
Output.OutputFile.write = lambda self, data: write(self, bytes(data).replace(b"BKS.Cg", b"bks.cg"))
"""
OTHER_TIMES = """
compose = NRRDFiles.composeHeader
NRRDFiles.composeHeader = lambda part, name, times, lines: compose(part, name, [1.01 * time for time in times], lines)
period = NIfTIFiles._period
NIfTIFiles.struct = type("Struct", (), {"pack_into": lambda kind, out, place, *values:
    __import__("struct").pack_into(kind, out, place, *(values if place != 76 else (*values[:4], values[4] * 1.01)))})
steps = DICOMImages.frameSteps
write = Output.OutputFile.write
Output.OutputFile.write = lambda self, data: write(self, bytes(data).replace(b"33.3333", b"33.4333"))
moment = DICOMImages.dateTime
"""


WORDS = ("than was written", "than were written", "read back", "is displaced by", "differ by up to")


@pytest.mark.parametrize(
    ("case", "spoil"),
    [
        *((case, "SPOILT_PIXEL") for case in ("nrrd", "seq.nrrd", "nii", "dicom", "dicom cine")),
        ("nii.gz", "SPOILT_PACKED"),
        *((case, "LOST_END") for case in FORMATS),
        *((case, "SHIFTED") for case in ("nrrd", "nii", "nii.gz", "dicom", "dicom cine")),
        ("dicom", "MIRRORED"),
        *((case, "OTHER_WORDS") for case in FORMATS),
        *((case, "OTHER_TIMES") for case in ("seq.nrrd", "nii", "nii.gz", "dicom cine")),
    ],
)
def test_a_wrong_file_is_found_and_removed(tmp_path, case, spoil):
    job = recorded(tmp_path, case)
    before = listing(tmp_path)
    made = Program(job, program(tmp_path, globals()[spoil]))
    last = made.end()
    assert "failed" in last, last
    assert not made.of("event"), "found by the comparison, not by chance"
    assert any(word in last["failed"] for word in WORDS)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("case", FORMATS)
def test_an_unexpected_error_is_reported_with_its_trace(tmp_path, case):
    job = recorded(tmp_path, case)
    before = listing(tmp_path)
    fault = """
def compare(*_):
    raise RuntimeError('an unheard-of fault')
for kind in Worker.WRITERS.values():
    kind.compare = compare
"""
    made = Program(job, program(tmp_path, fault))
    assert made.end()["failed"].endswith("RuntimeError: an unheard-of fault.")
    assert any("Traceback" in text for text in made.of("log"))
    assert listing(tmp_path) == before


def test_a_displacement_is_reported_for_the_order_of_the_slices():
    pixels = np.zeros((20, 3, 4), np.int16)
    shifted = np.eye(4)
    shifted[1, 3] = 1.5
    with pytest.raises(Different, match=r"is displaced by 1\.5 mm"):
        compareImage(Image(pixels, shifted), pixels, np.eye(4), 1e-7, "Frame 0")
