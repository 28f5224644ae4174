import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Model.Errors import NotAnImageError, RealTimeImagingError
from RealTimeImagingLib.Model.Frame import Image, checksum
from RealTimeImagingLib.Simulator import Scanners as ScannerModule
from RealTimeImagingLib.Simulator.Files import FORMATS, shots
from RealTimeImagingLib.Simulator.Scanners import BURST, MODES, FolderScanner
from unit.conftest import arrive, niftiFile, seriesFile, snapshot, sumOf, until
from unit.readers import read
from unit.test_NIfTI import affines, counted

PROGRAM = Path(ScannerModule.__file__).with_name("__main__.py")


def never():
    return False


def sumsIn(path):
    reader = openImageFile(str(path))
    assert reader.missing() is None
    return [checksum(image.pixels) for image in reader.images()]


def written(folder, shot):
    for name, data in shot.files.items():
        (folder / name).write_bytes(data)
    return folder / shot.name


# ---- what is sent


def test_without_a_source_the_phantom_is_sent_with_its_checksums(tmp_path):
    for number, shot in enumerate(itertools.islice(shots(None, False), 3)):
        assert shot.name == f"frame_{number:06d}.nii"
        (tmp_path / shot.name).write_bytes(shot.files[shot.name])
        assert sumsIn(tmp_path / shot.name) == list(shot.checksums)


@pytest.mark.parametrize("loop", [False, True])
def test_each_volume_of_a_file_becomes_a_file(tmp_path, loop):
    (tmp_path / "a.nii").write_bytes(seriesFile(range(3)))
    sent = list(itertools.islice(shots(str(tmp_path / "a.nii"), loop), 7))
    numbers = [0, 1, 2, 0, 1, 2, 0] if loop else [0, 1, 2]
    assert [shot.checksums for shot in sent] == [(sumOf(number),) for number in numbers]
    assert [shot.name for shot in sent] == [f"frame_{number:06d}.nii" for number in range(len(numbers))]
    image = nibabel.Nifti1Image.from_bytes(sent[1].files[sent[1].name])
    np.testing.assert_array_equal(image.affine, np.diag([-2.0, 2, 3, 1]))


@given(affine=affines(), dtype=st.sampled_from(["u1", "i2"]))
@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "npy"])
def test_every_format_has_each_voxel_at_its_place(tmp_path, kind, affine, dtype):
    image = Image(counted((2, 3, 4), dtype), affine)
    for made in read(written(tmp_path, FORMATS[kind]()(image, 0))):
        for k, j, i in np.ndindex(made.pixels.shape):
            there = np.linalg.inv(affine) @ made.ijkToRAS @ (i, j, k, 1)
            place = tuple(np.rint(there[2::-1]).astype(int))
            if kind == "dcm":
                place = (made.pixels[0, 0, 0] // 12, *place[1:])
            else:
                np.testing.assert_allclose(there[:3], place[::-1], atol=0.01)
            assert made.pixels[k, j, i] == image.pixels[place]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_folder_of_every_format_becomes_the_images_that_were_sent(receive, incoming, kind):
    receiver = receive()
    log = io.StringIO()
    sent = shots(None, False, kind, thin=28)
    scanner = FolderScanner(str(incoming), 400, "rename", log, keep=1)
    for _image in range(2):
        scanner.send(itertools.islice(sent, 1), never)
        receiver.run(3)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert receiver.names == [line["file"] for line in lines]
    assert receiver.sums == [line["checksums"][0] for line in lines]
    assert receiver.codes == []
    assert lines[1]["file"] in os.listdir(incoming)
    assert not any("000000" in name for name in os.listdir(incoming))


@pytest.mark.parametrize("kind", ["par", "head"])
def test_pairs_of_a_folder_are_sent_together(tmp_path, kind):
    for number in range(2):
        written(tmp_path, FORMATS[kind]()(Image(counted((2, 3, 4)), np.eye(4)), number))
    first, *_others = sent = list(itertools.islice(shots(str(tmp_path), True), 3))
    assert len(first.files) == 2
    assert list(first.files)[-1] == first.name
    assert list(sent[2].files) == [f"1_{name}" for name in first.files]


def test_files_of_a_folder_are_sent_as_they_are_in_natural_order(tmp_path):
    for name, data in (("im10.nii", niftiFile(10)), ("im9.nii", niftiFile(9)), ("im8.nii", seriesFile([7, 8]))):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.nii").write_bytes(niftiFile(1))
    (tmp_path / "below").mkdir()
    before = snapshot(tmp_path)
    sent = list(shots(str(tmp_path), False))
    assert [shot.name for shot in sent] == ["im8.nii", "im9.nii", "im10.nii"]
    assert [shot.files[shot.name] for shot in sent] == [(tmp_path / shot.name).read_bytes() for shot in sent]
    assert [shot.checksums for shot in sent] == [(sumOf(7), sumOf(8)), (sumOf(9),), (sumOf(10),)]
    assert snapshot(tmp_path) == before


def test_a_folder_that_is_sent_again_has_other_names(tmp_path):
    for number in (1, 2):
        (tmp_path / f"{number}.nii").write_bytes(niftiFile(number))
    sent = list(itertools.islice(shots(str(tmp_path), True), 5))
    assert [shot.name for shot in sent] == ["1.nii", "2.nii", "1_1.nii", "1_2.nii", "2_1.nii"]
    assert [shot.checksums for shot in sent] == [(sumOf(number),) for number in (1, 2, 1, 2, 1)]


@pytest.mark.parametrize("loop", [False, True])
def test_a_folder_without_images_is_refused(tmp_path, loop):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(RealTimeImagingError, match="no images"):
        next(shots(str(tmp_path), loop))


def test_a_header_without_its_voxels_is_not_sent(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(24))
    (tmp_path / "a.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = a.raw\n"
    )
    with pytest.raises(NotAnImageError, match="are in other files"):
        next(shots(str(tmp_path), False))
    assert len(list(shots(str(tmp_path / "a.mhd"), False))) == 1  # as a .nii


@pytest.mark.parametrize(
    ("data", "code"), [(b"no image" * 99, "not-an-image"), (niftiFile(1)[:-1], "incomplete"), (b"", "incomplete")]
)
def test_what_is_no_whole_image_is_refused(tmp_path, data, code):
    (tmp_path / "a.nii").write_bytes(data)
    for source in (tmp_path / "a.nii", tmp_path):
        with pytest.raises(NotAnImageError) as caught:
            list(shots(str(source), False))
        assert caught.value.code == code
        assert "a.nii" in str(caught.value) or code == "not-an-image"


# ---- how it is sent


@pytest.fixture
def source(tmp_path):
    """A folder of twelve images."""
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.nii").write_bytes(niftiFile(number))
    return str(folder)


@pytest.mark.parametrize("mode", MODES)
def test_what_arrives_is_what_was_logged(tmp_path, incoming, source, mode):
    log = io.StringIO()
    before = time.time()
    assert FolderScanner(str(incoming), 400, mode, log).send(shots(source, False), never) == 12
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["file"] for line in lines] == [f"{number}.nii" for number in range(12)]
    for number, line in enumerate(lines):
        assert line["checksums"] == sumsIn(incoming / line["file"]) == [sumOf(number)]
        assert before <= line["time"] <= time.time()
    assert sorted(path.name for path in incoming.iterdir()) == sorted(line["file"] for line in lines)


class Watching(io.StringIO):
    """A log that looks at the folder at the moment each file is logged as whole."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.times = folder, []

    def write(self, line):
        name = json.loads(line)["file"]
        assert (self.folder / name).read_bytes() == niftiFile(int(name.split(".")[0]))
        self.times.append(time.monotonic())


@pytest.mark.parametrize("mode", MODES)
def test_a_file_is_whole_when_it_is_logged_and_the_rate_is_kept(incoming, source, mode):
    fps = 60
    log = Watching(incoming)
    started = time.monotonic()
    FolderScanner(str(incoming), fps, mode, log).send(shots(source, False), never)
    turns = {"rename": range(12), "grow": range(12), "burst": [n - n % BURST + BURST - 1 for n in range(12)]}[mode]
    for turn, moment in zip(turns, log.times, strict=True):
        assert moment - started > turn / fps - 0.01  # never early; late as the machine is


def test_a_growing_file_is_seen_in_part(incoming, source):
    """The sizes that another process could see, asked between the pieces."""
    sizes = []

    def stopped():
        sizes.extend((incoming / name).stat().st_size for name in os.listdir(incoming))
        return False

    FolderScanner(str(incoming), 100, "grow").send(itertools.islice(shots(source, False), 1), stopped)
    whole = len(niftiFile(0))
    assert len({size for size in sizes if size < whole}) > 3
    assert (incoming / "0.nii").stat().st_size == whole


@pytest.mark.parametrize("mode", ["rename", "burst"])
def test_otherwise_a_file_is_never_seen_in_part(incoming, source, mode):
    sizes = set()

    def stopped():
        sizes.update((incoming / name).stat().st_size for name in os.listdir(incoming) if not name.endswith(".part"))
        return False

    FolderScanner(str(incoming), 300, mode).send(shots(source, False), stopped)
    assert sizes <= {len(niftiFile(0))}


@pytest.mark.parametrize("keep", [1, 5])
def test_only_the_latest_files_stay(incoming, source, keep):
    arrive(incoming / "of somebody else.nii", b"")
    FolderScanner(str(incoming), 1000, "rename", keep=keep).send(shots(source, False), never)
    kept = {f"{number}.nii" for number in range(12 - keep, 12)}
    assert {path.name for path in incoming.iterdir()} == kept | {"of somebody else.nii"}


def test_when_it_is_stopped_it_says_how_many_it_sent(incoming, source):
    count = FolderScanner(str(incoming), 1000, "rename").send(
        shots(source, True), lambda: len(os.listdir(incoming)) >= 7
    )
    assert count == 7
    assert sorted(os.listdir(incoming)) == sorted(f"{number}.nii" for number in range(7))


def test_a_file_that_grows_when_it_is_stopped_is_finished(incoming, source):
    stopped = FolderScanner(str(incoming), 0.1, "grow").send(shots(source, False), lambda: bool(os.listdir(incoming)))
    assert stopped == 1
    assert sumsIn(incoming / "0.nii") == [sumOf(0)]


def test_the_folder_is_made(tmp_path):
    FolderScanner(str(tmp_path / "a" / "b"), 10, "rename")
    assert (tmp_path / "a" / "b").is_dir()


# ---- the program


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, arguments)], capture_output=True, timeout=30, check=False, **options
    )


def test_the_program_sends_so_many_and_ends(tmp_path, incoming, source):
    log = tmp_path / "log.jsonl"
    done = run(incoming, "--input", source, "--fps", 500, "--frames", 20, "--loop", "--mode", "burst", "--log", log)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == 20
    assert {line["file"] for line in lines} == {path.name for path in incoming.iterdir()}


def test_the_program_ends_when_its_input_does(incoming, source):
    command = [sys.executable, str(PROGRAM), str(incoming), "--input", source, "--fps", "200", "--loop"]
    with subprocess.Popen([*command, "--until-input-ends"], stdin=subprocess.PIPE) as process:
        until(lambda: len(os.listdir(incoming)) > 3)
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(5) == 0
    assert not [name for name in os.listdir(incoming) if name.endswith(".part")]


@pytest.mark.skipif(os.name != "posix", reason="signals are others there")
def test_the_program_finishes_its_file_when_it_is_told_to_end(incoming, source):
    command = [sys.executable, str(PROGRAM), str(incoming), "--input", source, "--fps", "0.2", "--mode", "grow"]
    with subprocess.Popen(command) as process:
        until(lambda: os.listdir(incoming))
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    assert sumsIn(incoming / "0.nii") == [sumOf(0)]


def test_the_program_says_what_is_wrong_with_its_input_in_one_line(tmp_path, incoming):
    (tmp_path / "a.nii").write_bytes(b"no image" * 99)
    done = run(incoming, "--input", tmp_path / "a.nii")
    assert done.returncode != 0
    assert b"348" in done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stderr.count(b"\n") <= 2
