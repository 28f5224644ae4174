"""PAR/REC, AFNI and MGH: real files of nibabel's own tests, and files that nibabel writes, compared with nibabel."""

import gzip
import shutil
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Formats import openImageFile
from unit.conftest import arrive
from unit.readers import assertSame, assertSentence, grow, read, refusal
from unit.test_NIfTI import affines, counted

DATA = Path(nibabel.__path__[0]) / "tests" / "data"
PHANTOM, ABORTED = "phantom_EPI_asc_CLEAR_2_1.PAR", "phantom_truncated.PAR"
EPI = "example4d+orig.HEAD"
REFUSED = {
    "NA.PAR": "The images of the PAR file differ in slice orientation. Export each kind of images alone.",
    "bad_datatype+orig.HEAD": "The voxels have the AFNI types 1, 3, 5; one of the types 0, 1, 3 for all volumes is "
    "read.",
    "bad_attribute+orig.HEAD": "The content contradicts the AFNI format: write the file again. The log has the "
    "details.",
}
LARGE = ("T1_dual_echo.PAR", "T1_3echo_mag_real_imag_phase.PAR")
"""Hundreds of images; the order of such kinds is tested by itself."""
PARS = sorted(path.name for path in DATA.glob("*.PAR") if path.name not in (*REFUSED, *LARGE))
HEADS = sorted(path.name for path in DATA.glob("*.HEAD") if path.name not in REFUSED)


def copied(folder, name=PHANTOM):
    """A real header in this folder, with its voxels, or, where nibabel has none, with random ones."""
    header = Path(shutil.copy(DATA / name, folder))
    for ending in (".REC", ".BRIK", ".BRIK.gz"):
        voxels = (DATA / name).with_suffix(ending)
        if voxels.exists():
            shutil.copy(voxels, folder)
            return header
    if name.endswith(".PAR"):
        with warnings.catch_warnings(), header.open(encoding="latin-1") as file:
            warnings.simplefilter("ignore")
            _info, rows = nibabel.parrec.parse_PAR_header(file)
        size = int(np.prod(rows["recon resolution"][0])) * len(rows)
        values = np.random.default_rng(1).integers(0, 4000, size)
        values.astype(f"<u{rows['image pixel size'][0] // 8}").tofile(voxelsOf(header))
    return header


def voxelsOf(header):
    """Where the voxels of a copied header are."""
    names = [header.with_suffix(ending) for ending in (".REC", ".BRIK", ".BRIK.gz")]
    return next((path for path in names if path.exists()), names[0] if header.suffix == ".PAR" else names[2])


def peerOf(path):
    """nibabel's affine, and its volumes as ours: (t, k, j, i)."""
    options = {"permit_truncated": True, "strict_sort": True} if path.suffix == ".PAR" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = nibabel.load(path, **options)
        values = np.asarray(image.dataobj)
    return image.affine, np.atleast_3d(values).reshape((*values.shape[:3], -1)).T


def mgh(folder, array, affine=None, ending=".mgh"):
    path = folder / ("a" + ending)
    nibabel.save(nibabel.MGHImage(array, np.eye(4) if affine is None else affine), path)
    if ending == ".mgh":
        # Without the footer, of which the reader needs nothing.
        path.write_bytes(path.read_bytes()[: 284 + array.nbytes])
    return path


# ---- geometry and values


@pytest.mark.parametrize("name", [*PARS, *HEADS])
def test_voxels_and_geometry_equal_nibabels(tmp_path, name):
    path = copied(tmp_path, name)
    affine, volumes = peerOf(path)
    images = read(path)
    assert len(images) == len(volumes)
    for image, volume in zip(images, volumes, strict=True):
        # Scaled integers of 16 bits are float32 here; nibabel has float64.
        np.testing.assert_array_equal(image.pixels, volume.astype(image.pixels.dtype))
        np.testing.assert_array_equal(image.ijkToRAS, affine)


@given(
    affine=affines(),
    dtype=st.sampled_from(["u1", "i2", "i4", "f4"]),
    ending=st.sampled_from([".mgh", ".mgz"]),
    shape=st.lists(st.integers(2, 5), min_size=3, max_size=4),
)
def test_voxels_and_geometry_of_FreeSurfer_equal_nibabels(tmp_path, affine, dtype, ending, shape):
    path = mgh(tmp_path, counted(shape, dtype), affine, ending)
    affine, volumes = peerOf(path)
    images = read(path)
    np.testing.assert_array_equal([image.pixels for image in images], volumes)
    np.testing.assert_array_equal(images[0].ijkToRAS, affine)
    assert images[0].pixels.dtype == dtype


def test_the_time_points_of_a_dynamic_scan_have_times_and_numbers(tmp_path):
    reader = openImageFile(str(copied(tmp_path)))
    assert reader.missing() is None
    assert reader.times == [0, 2, 4]
    attributes = [image.attributes for image in reader.images()]
    assert [one["TemporalPositionIdentifier"] for one in attributes] == ["1", "2", "3"]
    assert attributes[0]["SeriesDescription"] == "EPI_asc CLEAR"
    assert (attributes[0]["EchoTime"], attributes[0]["RepetitionTime"], attributes[0]["ImageType"]) == (
        *("30", "2000"),
        "M",
    )
    assert not any("phantom" in value for value in attributes[0].values())


def test_kinds_and_echoes_of_a_PAR_file_are_named(tmp_path):
    images = read(copied(tmp_path, "T1_3echo_mag_real_imag_phase.PAR"))
    kinds = [(image.attributes["ImageType"], image.attributes["EchoNumbers"]) for image in images]
    assert kinds == [(kind, echo) for kind in "MRIP" for echo in "123"]


def test_an_aborted_scan_gives_its_whole_volumes_and_names_the_rest(tmp_path):
    path = copied(tmp_path, ABORTED)
    reader = openImageFile(str(path))
    assert reader.missing() is None
    assert reader.count == 3
    assert reader.notes == ("The scan declares 4 time points; 3 are complete.",)
    lines = path.read_text("latin-1").splitlines()
    last = max(number for number, line in enumerate(lines) if line[:3].strip().isdigit())
    path.write_text("\n".join(lines[: last - 3] + lines[last + 1 :]), "latin-1")
    reader = openImageFile(str(path))
    assert reader.missing() is None
    assert reader.count == 2
    assert reader.notes == (
        "5 of 23 images belong to incomplete volumes and are left out.",
        "The scan declares 4 time points; 2 are complete.",
    )


def test_volumes_of_AFNI_have_labels_and_times(tmp_path):
    reader = openImageFile(str(copied(tmp_path, EPI)))
    assert reader.missing() is None
    assert reader.times == [0, 3, 6]
    assert [image.attributes["Label"] for image in reader.images()] == ["#0", "#1", "#2"]


def test_an_AFNI_file_without_the_real_matrix_has_that_of_its_axes(tmp_path):
    path = copied(tmp_path, EPI)
    expected = read(path)[0]
    blocks = path.read_text().split("\n\n")
    kept = [block for block in blocks if "IJK_TO_DICOM_REAL" not in block and "BYTEORDER_STRING" not in block]
    assert len(kept) == len(blocks) - 2
    path.write_text("\n\n".join(kept))
    image = read(path)[0]
    np.testing.assert_allclose(image.ijkToRAS, expected.ijkToRAS, atol=1e-4)
    np.testing.assert_array_equal(image.pixels, expected.pixels)


@pytest.mark.parametrize("names", [("a.par", "a.rec"), ("a.PAR", "a.rec"), ("a.par", "a.REC")])
def test_the_endings_may_be_in_capitals(tmp_path, names):
    header = copied(tmp_path)
    expected = read(header)
    voxelsOf(header).rename(tmp_path / names[1])
    assertSame(read(header.rename(tmp_path / names[0])), expected)


# ---- refused


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_files_are_refused_with_the_reason(tmp_path, name):
    assert str(refusal(copied(tmp_path, name))) == REFUSED[name]


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        (PHANTOM, "V4.2", "V3", "The PAR file has the version V3; V4, V4.1, V4.2 are read."),
        (PHANTOM, "slices/locations    :   9", "slices/locations    :   999999999", "27 images of 999999999 slices"),
        (PHANTOM, "image export tool", "tool", "A PAR file names its version; this file does not."),
        (EPI, "\n 3 3 0", "\n 3 999999999 0", "The header declares 999,999,999 volumes."),
        (EPI, "type", "kind", 'An AFNI header begins with "type ="; this file does not.'),
    ],
)
def test_what_nibabel_does_not_read_is_refused_with_the_reason(tmp_path, name, old, new, words):
    path = copied(tmp_path, name)
    text = path.read_text("latin-1")
    assert old in text
    path.write_text(text.replace(old, new), "latin-1")
    assert words in str(refusal(path))


def test_the_motion_parameters_of_FSL_are_no_PAR_file(tmp_path):
    (tmp_path / "run1_mcf.par").write_text("0.001 -0.002 0.0005 0.1 0.2 -0.05\n" * 99)
    assert refusal(tmp_path / "run1_mcf.par").code == "not-an-image"


def test_an_unknown_type_of_FreeSurfer_is_refused(tmp_path):
    path = mgh(tmp_path, counted((2, 3, 4), "i2"))
    data = bytearray(path.read_bytes())
    data[23] = 7
    path.write_bytes(data)
    assert refusal(path).code == "unsupported"


def test_without_nibabel_the_packages_are_named(tmp_path, hidden):
    path = copied(tmp_path)
    hidden("nibabel")
    error = refusal(path)
    assert error.code == "missing-package"
    assert "nibabel" in str(error)


# ---- half-written pairs


@given(cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)), name=st.sampled_from([PHANTOM, EPI]))
def test_a_cut_pair_is_never_taken_for_whole(tmp_path, cuts, name):
    header = copied(tmp_path, name)
    files = [header, voxelsOf(header)]
    wholes = [path.read_bytes() for path in files]
    # Behind the last mark, or the last value, only line ends follow.
    needed = [len(wholes[0].rstrip(b" =\n\r")) + 1, len(wholes[1])]
    if name == EPI:
        # A header without marks of its end: what follows the last necessary attribute is not missed.
        needed[0] = wholes[0].index(b"BRICK_FLOAT_FACS")
    lengths = [int(cut * len(whole)) for cut, whole in zip(cuts, wholes, strict=True)]
    for path, whole, length in zip(files, wholes, lengths, strict=True):
        path.write_bytes(whole[:length])
    words = openImageFile(str(header)).missing()
    if all(length >= need for length, need in zip(lengths, needed, strict=True)):
        assert words is None or name == EPI
    else:
        assertSentence(words)


@given(pieces=st.lists(st.integers(1, 99_000), max_size=6), name=st.sampled_from([PHANTOM, EPI, "scaled+tlrc.HEAD"]))
def test_growing_voxels_of_a_pair_are_read_once_they_are_whole(tmp_path, pieces, name):
    header = copied(tmp_path, name)
    voxels = voxelsOf(header)
    expected, whole = read(header), voxels.read_bytes()
    voxels.write_bytes(b"")
    reader = openImageFile(str(header))
    grow(voxels, whole, pieces, reader)
    assertSame(list(reader.images()), expected)


@pytest.mark.parametrize("name", [PHANTOM, EPI])
@pytest.mark.parametrize("first", ["header", "voxels"])
def test_a_folder_shows_each_pair_once(receive, incoming, tmp_path, name, first):
    receiver = receive()
    header = copied(tmp_path, name)
    files = [header, voxelsOf(header)] if first == "header" else [voxelsOf(header), header]
    for number in range(2):
        for source in files:
            arrive(incoming / f"{number}{source.name}", source.read_bytes())
            receiver.run(0.5)
    assert receiver.names == [f"{number}{name}" for number in (0, 1) for _volume in range(3)]
    assert receiver.codes == []


def test_a_header_whose_voxels_never_come_is_named(receive, incoming, tmp_path):
    receiver = receive(incompleteAfter=2.0)
    arrive(incoming / "a.PAR", copied(tmp_path).read_bytes())
    receiver.until(lambda: receiver.codes)
    assert receiver.codes == ["incomplete"]
    assert "a.REC" in receiver.events[0].text


def test_a_folder_offers_to_install_nibabel(receive, incoming, tmp_path, hidden):
    hidden("nibabel")
    receiver = receive()
    header = copied(tmp_path)
    for source in (header, voxelsOf(header)):
        arrive(incoming / source.name, source.read_bytes())
    receiver.until(lambda: receiver.codes)
    (event,) = receiver.events
    assert event.code == "missing-package"
    assert (event.remedy.label, event.remedy.settings) == ("Install nibabel", {"pattern": "*; *.par"})


def test_reading_as_images_are_asked_for_gives_the_same(tmp_path):
    packed = mgh(tmp_path, counted((2, 3, 4, 3), "i2"), ending=".mgz")
    for path in (packed, copied(tmp_path, EPI)):
        reader = openImageFile(str(path))
        reader.streaming = True
        assert reader.missing() is None
        assertSame(list(reader.images(1)), read(path)[1:])


def test_a_packed_BRIK_beside_a_plain_one_is_not_confused(tmp_path):
    header = copied(tmp_path, "scaled+tlrc.HEAD")
    expected = read(header)
    plain = voxelsOf(header)
    plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assertSame(read(header), expected)
