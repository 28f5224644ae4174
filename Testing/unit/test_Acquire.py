"""The acquisition process without Slicer, as a program: at its other end our own source of OpenIGTLink."""

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from RealTimeImagingLib import Command as Acquire
from RealTimeImagingLib.Command.Options import readOptions, settingsReference
from RealTimeImagingLib.Model.Frame import Image, checksum
from RealTimeImagingLib.Model.Settings import settingFields
from RealTimeImagingLib.Recording import openRecording
from RealTimeImagingLib.Simulator.Images import niftiBytes
from RealTimeImagingLib.Sources import KINDS
from RealTimeImagingLib.Sources.Camera import CameraSettings
from RealTimeImagingLib.Sources.Folder import FolderSettings
from RealTimeImagingLib.Sources.OpenIGTLink import BroadcastSettings, OpenIGTLinkSettings
from RealTimeImagingLib.Sources.Replay import ReplaySettings
from unit import processes
from unit.conftest import arrive, niftiFile, seriesFile, sumOf, volume
from unit.openIGTLinkSource import Link, freePort

PROGRAM = Path(Acquire.__file__).parent
SENDING = ["--openigtlink", "18945"]
posix = pytest.mark.skipif(os.name != "posix", reason="signals are others there")


# ---- options


def test_the_settings_of_each_source_are_its_options(tmp_path):
    options = ["--pattern", "*.nii", "--existing", "all", "--subfolders", "--incomplete-after", "3"]
    plan = readOptions(["folder", str(tmp_path), *options, *SENDING])
    expected = FolderSettings(str(tmp_path), "*.nii", subfolders=True, existing="all", incompleteAfter=3.0)
    assert plan.settings == expected
    assert plan.broadcast == BroadcastSettings(18945)
    assert [command.key for command in plan.startupCommands()] == ["broadcast"]


def test_settings_of_several_numbers_are_options_of_several_numbers():
    options = ["--device", "/dev/video2", "--crop", "1", "2", "3", "4", "--spacing", "0.5", "0.25", "--no-colour"]
    expected = CameraSettings("/dev/video2", crop=(1, 2, 3, 4), spacing=(0.5, 0.25), colour=False)
    assert readOptions(["camera", *options, *SENDING]).settings == expected
    assert readOptions(["camera", "--device", "2", *SENDING]).settings == CameraSettings(2)


def test_options_of_all_settings_of_all_sources_are_there(capsys):
    for name, kind in KINDS.items():
        if not kind.listed:
            continue
        with pytest.raises(SystemExit) as ended:
            readOptions([name, "--help"])
        assert ended.value.code == 0
        text = capsys.readouterr().out
        for field in settingFields(kind.settings):
            if field.setting.inCommand:
                option = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", field.name).lower()
                assert f"--{option}" in text or field.name.upper() in text
                assert field.setting.tooltip.split()[-1] in text


def test_the_table_of_settings_in_the_documentation_is_the_current_one():
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == settingsReference(), "run.py acquire --list-settings > docs/settings.md"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {}),
        (["--fastest"], {"pace": "fastest"}),
        (["--rate", "12.5"], {"pace": "rate", "rate": 12.5}),
        (["--rate", "12.5", "--pace", "recorded"], {"rate": 12.5}),
        (["--loop", "--speed", "2"], {"loop": True, "speed": 2.0}),
    ],
)
def test_a_replay_has_the_pace_that_is_meant(tmp_path, options, expected):
    file = str(tmp_path / "a.nii")
    assert readOptions(["replay", file, *options, *SENDING]).settings == ReplaySettings(file, **expected)


def test_a_source_of_openigtlink_and_those_it_is_sent_to_are_told_apart():
    source = ["--host", "scanner", "--port", "18944", "--ask", "STT_TDATA", "--no-check-crc"]
    others = ["--openigtlink", "0.0.0.0:18946", "--allow", "10.0.0.0/24", "--allow", "10.1.0.7", "--attributes"]
    plan = readOptions(["openigtlink", *source, *others])
    assert plan.settings == OpenIGTLinkSettings(host="scanner", ask=("STT_TDATA",), checkCRC=False)
    assert plan.broadcast == BroadcastSettings(18946, "0.0.0.0", 2, ("10.0.0.0/24", "10.1.0.7"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "SOURCE"),
        (["magic"], "invalid choice"),
        (["folder"], "FOLDER"),
        (["folder", "{}"], "--openigtlink PORT or --record"),
        (["folder", "{}", "--openigtlink", "port"], "no port such as 18945"),
        (["folder", "{}", "--openigtlink", "70000"], "0 to 65535"),
        (["folder", "{}", "--openigtlink", "1", "--allow", "everybody"], "no address such as"),
        (["folder", "{}", "--record", "{}/recordings"], "where nothing is changed"),
        (["folder", "{}", "--existing", "some", *SENDING], '"existing" is one of'),
        (["replay", "a.nii", "--rate", "fast", *SENDING], "invalid float"),
        (["replay", "a.nii", "--paused", *SENDING], "--paused"),
        (["openigtlink", "--role", "both", *SENDING], '"role" is one of'),
        (["openigtlink", "--engine", "connector", *SENDING], "--engine"),
    ],
)
def test_options_that_cannot_work_give_words_and_the_code_2(tmp_path, capsys, arguments, words):
    with pytest.raises(SystemExit) as ended:
        readOptions([argument.format(tmp_path) for argument in arguments])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err.replace("\n", " ")


# ---- sources of other packages

OTHER = """
import time
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from RealTimeImagingLib.Model.Frame import imageOf
from RealTimeImagingLib.Sources import Arrival, SourceKind, SourceSettings, about, register

IMAGE = imageOf(np.zeros((4, 5), np.uint8))

@dataclass(frozen=True)
class Settings(SourceSettings):
    kind: ClassVar[str] = "other"
    stream: str = field(default="Other", metadata=about("Volume name", "Name."))

class Source:
    status = "Makes images."

    def read(self, seconds):
        BODY

    def wake(self):
        pass

    def command(self, name, values):
        pass

    def close(self):
        pass

register(SourceKind(Settings, "Other", lambda settings, context: Source()))
"""


@pytest.fixture
def other(tmp_path):
    """Writes a module whose source has this body of read(); returns the options that record it."""

    def write(body):
        file = tmp_path / "other.py"
        file.write_text(OTHER.replace("BODY", body))
        return ["--register", str(file), "other", "--record", str(tmp_path / "recordings")]

    return write


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent", None, "there is no such file or folder"),
        ("notes.txt", "", "neither a Python file nor a folder with an __init__.py"),
        ("", None, "neither a Python file nor a folder with an __init__.py"),
        ("json.py", OTHER, "The module json comes from"),
        ("forgetful.py", "", "it does not call register()"),
        ("needy.py", "import a_package_that_is_absent", "No module named 'a_package_that_is_absent'"),
    ],
)
def test_a_path_that_registers_no_source_is_named_with_the_reason(tmp_path, monkeypatch, capsys, name, content, words):
    monkeypatch.setattr(sys, "path", list(sys.path))
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SystemExit) as ended:
        readOptions(["--register", str(tmp_path / name), "other"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert f"{tmp_path / name} registers no source: " in error
    assert words in error


def added(settings):
    """The module of :data:`OTHER` with further settings."""
    stream = "    stream: str ="
    return OTHER.replace(stream, f"    {settings}\n{stream}")


def test_a_source_whose_setting_has_the_name_of_another_option_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "taken.py").write_text(added('record: str = field(default="", metadata=about("A", "B."))'))
    try:
        with pytest.raises(SystemExit) as ended:
            readOptions(["--register", str(tmp_path / "taken.py"), "other"])
    finally:
        KINDS.pop("other", None)
    assert ended.value.code == 2
    assert "registers no source: argument --record: conflicting option string" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "type_", "arguments", "value"),
    [
        ("count", "int", ["5"], 5),
        ("gain", "float", ["0.5"], 0.5),
        ("loops", "bool", ["--no-loops"], False),
        ("names", "tuple[str, ...]", ["--names", "a", "--names", "b"], ("a", "b")),
        ("size", "tuple[int, int]", ["--size", "5", "6"], (5, 6)),
    ],
)
def test_a_required_setting_of_every_type_can_be_given(tmp_path, monkeypatch, name, type_, arguments, value):
    monkeypatch.setattr(sys, "path", list(sys.path))
    parts = 'parts=("X", "Y")' if name == "size" else ""
    (tmp_path / f"with{name}.py").write_text(added(f'{name}: {type_} = field(metadata=about("A", "B.", {parts}))'))
    options = ["--register", str(tmp_path / f"with{name}.py"), "other", *arguments, "--record", str(tmp_path)]
    try:
        assert getattr(readOptions(options).settings, name) == value
    finally:
        KINDS.pop("other", None)


# ---- the program

OFTEN = f"""
import runpy, sys
sys.path.insert(0, {str(PROGRAM.parents[1])!r})
from RealTimeImagingLib.Command import Console
Console.PERIOD = 0.1
runpy.run_path({str(PROGRAM)!r}, run_name="__main__")
"""
"""The program, which tells its counts ten times a second."""


class Program:
    """The program, with what it writes."""

    def __init__(self, *arguments, command=(str(PROGRAM),), fresh=False):
        environment = {"PYTHONPATH": str(PROGRAM.parents[1]) if "-m" in command else ""}
        self.lines = []
        self._queue = queue.Queue()
        self.process = processes.start(*command, *arguments, text=True, environment=environment, fresh=fresh)
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self):
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def until(self, words):
        """Take lines until one has these words; returns it."""
        while not any(words in line for line in self.lines):
            line = self._queue.get(timeout=20)
            assert line is not None, f"it ended before: {self.lines} {self.process.stderr.read()}"
            self.lines.append(line)
        return next(line for line in self.lines if words in line)

    def end(self, kind=signal.SIGINT):
        """Ask for the end as Ctrl+C does; the exit code and the last line."""
        self.process.send_signal(kind)
        while (line := self._queue.get(timeout=20)) is not None:
            self.lines.append(line)
        return self.process.wait(10), self.lines[-1]

    def close(self):
        self.process.kill()
        self.process.wait(5)
        self._reading.join(5)
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def program():
    made = []

    def start(*arguments, **options):
        made.append(Program(*arguments, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def link(tmp_path):
    """Starts sources that connect to a port, as in Slicer."""
    made = []

    def start(port):
        folder = tmp_path / f"link{len(made)}"
        folder.mkdir()
        made.append(Link(folder, port=port))
        made[-1].untilCode("connected")
        return made[-1]

    yield start
    for one in made:
        one.close()


def portOf(program):
    return int(re.search(r"port (\d+)", program.until("Rebroadcasting over OpenIGTLink on"))[1])


def oblique(number):
    matrix = np.array([[0.6, -1.6, 0, 10], [0.8, 1.2, 0, -20], [0, 0, 3.0, 30], [0, 0, 0, 1]])
    return Image(volume(number, (6, 7, 8)).pixels, matrix)


def atWorldPoints(image, points):
    """Values at points in millimetres, of the nearest voxel."""
    indices = np.linalg.inv(image.ijkToRAS) @ np.c_[points, np.ones(len(points))].T
    i, j, k = np.rint(indices[:3]).astype(int)
    return image.pixels[k, j, i]


@posix
@pytest.mark.parametrize("command", [(str(PROGRAM),), ("-m", "RealTimeImagingLib.Command")], ids=["file", "module"])
def test_images_of_a_folder_reach_slicer_on_another_computer(program, link, incoming, command):
    acquiring = program("folder", incoming, "--openigtlink", "0", "--attributes", command=command, fresh=True)
    other = link(portOf(acquiring))
    acquiring.until("is connected")
    sent = [oblique(number) for number in range(20)]
    for number, image in enumerate(sent):
        arrive(incoming / f"{number}.nii", niftiBytes(image))
        other.until(lambda number=number: len(other.frames) > number)
    k, j, i = np.indices((6, 7, 8)).reshape(3, -1)
    points = (sent[0].ijkToRAS @ np.array([i, j, k, np.ones(len(i))]))[:3].T
    for number, (image, arrival) in enumerate(zip(sent, other.frames, strict=True)):
        np.testing.assert_array_equal(atWorldPoints(arrival.image, points), atWorldPoints(image, points))
        np.testing.assert_allclose(arrival.image.ijkToRAS, image.ijkToRAS, atol=1e-5)
        assert arrival.image.attributes["SourceFile"] == f"{number}.nii"
        assert arrival.stream == "Live"
    code, last = acquiring.end()
    assert code == 0
    assert "The end: 20 received, 0 recorded, 0 failed, 0 rejected, 20 messages sent, 0 dropped." in last
    assert acquiring.process.stderr.read() == ""


@posix
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_replay_is_sent_and_recorded_until_it_is_told_to_end(program, link, incoming, tmp_path, kind):
    (incoming / "a.nii").write_bytes(seriesFile(range(30)))
    folder = tmp_path / "recordings"
    acquiring = program("replay", incoming / "a.nii", "--rate", 200, "--openigtlink", "0", "--record", folder)
    other = link(portOf(acquiring))
    acquiring.until("has ended: 30 frames")
    code, last = acquiring.end(kind)
    assert code == 0
    assert "30 received, 30 recorded, 0 failed, 0 rejected" in last
    header = acquiring.until("The recording is complete").partition("First file: ")[2].rstrip(".")
    part = openRecording(header)
    assert [checksum(part.pixels(index)) for index in range(part.count)] == [sumOf(number) for number in range(30)]
    other.untilCode("disconnected")
    assert other.sums == [sumOf(number) for number in range(30)][30 - len(other.sums) :]


@posix
def test_what_is_wrong_is_told_and_it_goes_on(program, incoming):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        acquiring = program("folder", incoming, "--openigtlink", port, command=("-c", OFTEN))
        assert "Error: " in acquiring.until(f"Port {port} is in use")
        arrive(incoming / "bad.nii", b"no image" * 99)
        assert "Warning: " in acquiring.until("bad.nii")
    assert portOf(acquiring) == port
    arrive(incoming / "good.nii", niftiFile(1))
    acquiring.until("1 received")
    code, last = acquiring.end()
    assert (code, "1 received, 0 recorded, 0 failed, 1 rejected, 0 messages sent" in last) == (0, True)


@posix
def test_nothing_is_left_behind(program, incoming):
    from RealTimeImagingLib.Link.WorkFolders import PREFIX, roots

    acquiring = program("folder", incoming, "--openigtlink", freePort())
    acquiring.until("Rebroadcasting")
    mark = f"{PREFIX}-{acquiring.process.pid}-"
    assert [name for root in roots() for name in os.listdir(root) if name.startswith(mark)]
    assert acquiring.end()[0] == 0
    assert not [name for root in roots() for name in os.listdir(root) if name.startswith(mark)]


def test_bad_options_end_the_program_with_the_code_2(incoming):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "folder", str(incoming)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "--openigtlink PORT" in done.stderr


def test_it_needs_nothing_of_slicer():
    code = f"import sys; sys.path[0] = {str(PROGRAM.parents[1])!r}; import RealTimeImagingLib.Command.__main__\n"
    code += "print([name for name in ('qt', 'slicer', 'vtk', 'ctk', 'PySide6') if name in sys.modules])"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False, env=environment
    )
    assert done.stdout.strip() == "[]", done.stderr


@posix
def test_a_source_that_fails_leaves_a_finished_recording(program, other):
    acquiring = program(*other('yield Arrival("Other", IMAGE, time.time()); raise ValueError("no more")'))
    header = acquiring.until("The recording is complete").partition("First file: ")[2].rstrip(".")
    assert "1 received, 1 recorded" in acquiring.until("The end")
    assert "ValueError: no more" in "\n".join(acquiring.lines)
    assert acquiring.process.wait(10) == 1
    assert openRecording(header).count == 1


@posix
@pytest.mark.parametrize(
    ("body", "given"),
    [("yield IMAGE", "not Image"), ('yield Arrival("Other", IMAGE.pixels, time.time())', "not an Arrival of ndarray")],
)
def test_a_source_that_yields_something_else_is_told_what_to_yield(program, other, body, given):
    acquiring = program(*other(body))
    assert given in acquiring.until("TypeError: read() of a source yields Arrival (of an Image), Event")


@posix
def test_a_source_with_a_name_that_no_volume_can_have_is_told(program, other):
    """VTK aborts at a name that is no UTF-8."""
    acquiring = program(*other('yield Arrival("A" + chr(0xD800), IMAGE, time.time())'))
    assert "has characters that no file can store" in acquiring.until("SettingsError")


@posix
def test_a_source_that_blocks_is_named_at_the_end(program, other):
    impatient = OFTEN.replace("import Console", "import Console; from RealTimeImagingLib.Worker.Worker import Worker")
    impatient = impatient.replace("Console.PERIOD", "Worker.LONGEST_PAUSE = Console.LONGEST_END = Console.PERIOD")
    body = 'yield Arrival("Other", IMAGE, time.time()); time.sleep(100)'
    acquiring = program(*other(body), command=("-c", impatient))
    acquiring.until("1 received")
    code, last = acquiring.end()
    assert code == 1
    assert "The end" in last
    assert "its read() or close() blocks" in acquiring.lines[-2]


@posix
def test_a_drive_that_does_not_respond_is_named(program, incoming, tmp_path):
    """And the images that come afterwards are received."""
    hang = tmp_path / "hangs"
    hanging = f"""import os, time
from RealTimeImagingLib.Worker import HangWatch
HangWatch.LONGEST = 1
scan = os.scandir
def waits(path="."):
    while str(path) == {str(incoming)!r} and os.path.exists({str(hang)!r}):
        time.sleep(0.02)
    return scan(path)
os.scandir = waits
runpy.run_path"""
    command = ("-c", OFTEN.replace("runpy.run_path", hanging))
    acquiring = program("folder", str(incoming), "--record", str(tmp_path / "recordings"), command=command)
    acquiring.until(f"0 received, 0 recorded, 0 failed, 0 rejected. No image has arrived in {incoming}")
    hang.touch()
    acquiring.until(f"Access to {incoming} takes more than 1 s. A file is large, or the drive")
    hang.unlink()
    arrive(incoming / "a.nii", niftiFile(1))
    acquiring.until("1 received, 1 recorded")
    assert acquiring.end()[0] == 0
