"""The promises of SECURITY.md: each has a test of its name, and each test a promise."""

from __future__ import annotations

import ast
import functools
import gzip
import io
import json
import logging
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import RealTimeImagingLib
from fuzz.Files import TARGETS as FILES
from fuzz.Messages import TARGETS as MESSAGES
from fuzz.Rules import check
from RealTimeImagingLib.Command.Options import readOptions
from RealTimeImagingLib.Formats import DEFAULT_LIMIT, Inflate, openImageFile
from RealTimeImagingLib.Formats.DICOM import File as DICOMFile
from RealTimeImagingLib.Formats.DICOM import Reader as DICOMReader
from RealTimeImagingLib.Formats.Raw import temporaryFolder
from RealTimeImagingLib.Formats.TextHeader import dataFiles
from RealTimeImagingLib.Link.Lines import MOST_RECORDS, LineLogHandler
from RealTimeImagingLib.Link.Messages import PublishedReport, encode, withoutTokens
from RealTimeImagingLib.Link.Ring import RingWriter
from RealTimeImagingLib.Link.Subscription import HELLO_BYTES
from RealTimeImagingLib.Link.WorkFolders import makeWorkFolders, removeWorkFolders
from RealTimeImagingLib.Model.Errors import (
    FrameError,
    NotAnImageError,
    RecordingError,
    RequestError,
    RingError,
    SettingsError,
)
from RealTimeImagingLib.Model.Files import makePrivateFolder, replaceFile
from RealTimeImagingLib.Recording import fileName, openRecording
from RealTimeImagingLib.Recording.Layout import isFileName
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.DICOM.Files import Files
from RealTimeImagingLib.Sources.DICOM.StorageSCP import MOST_CONNECTIONS as DICOM_CONNECTIONS
from RealTimeImagingLib.Sources.Endpoints import Listener
from RealTimeImagingLib.Sources.HTTP import HTTPSettings, Server
from RealTimeImagingLib.Sources.HTTP.FrameRequest import frameRequestOf
from RealTimeImagingLib.Sources.HTTP.Request import RequestReader
from RealTimeImagingLib.Sources.HTTP.Source import HTTPSource
from RealTimeImagingLib.Sources.Kinds import KINDS, settingsFromJSON, toWorker
from RealTimeImagingLib.Sources.MRD.Connections import MOST as MRD_CONNECTIONS
from RealTimeImagingLib.Sources.OpenIGTLink import BroadcastSettings, OpenIGTLinkSettings
from RealTimeImagingLib.Sources.OpenIGTLink.Peers import MOST as OPENIGTLINK_CONNECTIONS
from RealTimeImagingLib.Sources.Source import STREAMS, hasRoom
from unit import recordings
from unit.conftest import PROGRAM, Acquisition, niftiFile, until
from unit.functions import Publishing
from unit.httpSource import TOKEN, head
from unit.test_DICOM import FRAMES, made

LIBRARY = Path(RealTimeImagingLib.__file__).parent
PAGE = (LIBRARY.parents[1] / "SECURITY.md").read_text(encoding="utf-8")
SERVERS = ("http", "dicom", "mrd", "openigtlink")

posix = pytest.mark.skipif(os.name != "posix", reason="Windows: the rights of the profile are inherited")


@functools.cache
def nodes():
    """Calls and comparisons of each module of the library."""
    return {
        path.relative_to(LIBRARY).as_posix(): [
            node
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, (ast.Call, ast.Compare))
        ]
        for path in LIBRARY.rglob("*.py")
    }


@functools.cache
def calls(path):
    """Names of all that a module calls, such as "os.system"."""
    return {ast.unparse(node.func) for node in nodes()[path] if isinstance(node, ast.Call)}


def callsOf(name):
    """All calls of a function in the library, with the module."""
    return [
        (path, node)
        for path in nodes()
        if any(one.rpartition(".")[2] == name for one in calls(path))
        for node in nodes()[path]
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name
    ]


def modeOf(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def headOf(query):
    return RequestReader(io.BytesIO(head("POST", "/frame" + query, {}, 1))).head()


def settingsOf(name):
    return KINDS[name].settings(**({"folder": "/incoming"} if name == "dicom" else {}))


def test_each_promise_has_a_test():
    promises = re.findall(r"^- \*\*(.+?)\.\*\*", PAGE, re.MULTILINE)
    names = {"test_" + re.sub(r"[^a-z]+", "_", one.lower()) for one in promises}
    assert len(names) == len(promises) > 20
    assert {name for name in globals() if name.startswith("test_")} == names | {"test_each_promise_has_a_test"}


# ---- what listens


def test_nothing_listens_before_start():
    listening = re.compile(r"(^|\.)(create_server|listen|listenOn|bind|serve_forever)$")
    found = {path for path in nodes() if any(map(listening.search, calls(path)))}
    # The connector tries whether a port is free, and never listens.
    inSlicer = {path for path in found if path.split("/")[0] in ("Host", "Scene", "Panel", "Logic.py")}
    assert inSlicer == {"Host/Connector.py"}
    assert not any(name.endswith((".listen", "create_server")) for name in calls("Host/Connector.py"))


def test_ports_listen_on_this_computer_only():
    hosts = [settingsOf(name).host for name in SERVERS]
    assert [*hosts, BroadcastSettings(port=0).host] == ["127.0.0.1"] * 5
    listener = Listener(hosts[0], 0)
    assert [event.level for event in listener.open(0.0)] == ["info"]
    assert listener.socket.getsockname()[0] == "127.0.0.1"
    listener.close()
    arguments = [ast.unparse(node) for path, node in callsOf("add_argument") if path == "Simulator/__main__.py"]
    assert any(one.startswith("parser.add_argument('--host', default='127.0.0.1'") for one in arguments)


def test_a_wider_address_is_a_warning():
    listener = Listener("0.0.0.0", 0)
    (event,) = listener.open(0.0)
    assert event.level == "warning"
    assert "0.0.0.0" in event.text
    assert "All computers in the network can send images there." in event.text
    listener.close()


def test_other_computers_can_be_excluded():
    assert all("allowed" in settingsOf(name).toJSON() for name in SERVERS)
    listener = Listener("127.0.0.1", 0, ["10.0.0.7", "10.0.1.0/24"])
    list(listener.open(0.0))
    with socket.create_connection(("127.0.0.1", listener.port), 5) as client:
        client.sendall(b"x")
        found = []
        until(lambda: found.extend(listener.take(0.0)) or found)
        assert [event.code for event in found] == ["peer-refused"]
        with pytest.raises((ConnectionResetError, AssertionError)):
            assert client.recv(1)
    listener.close()


@pytest.mark.parametrize(
    "line",
    [
        b'{"token": "wrong", "stream": "Live", "slots": 4}\n',
        b'{"token": 5, "stream": "Live", "slots": 4}\n',
        b'{"token": "\\ud800\\u00e4", "stream": "Live", "slots": 4}\n',
        b'{"token": null}\n',
        b"[" * 4000 + b"\n",
        b"x" * (HELLO_BYTES + 1),
    ],
)
def test_processes_of_this_computer_need_a_token(tmp_path, line):
    publisher = Publishing(tmp_path)
    with socket.create_connection(("127.0.0.1", publisher.port), 5) as client:
        client.sendall(line)
        with pytest.raises((ConnectionResetError, AssertionError)):
            assert client.recv(1)
    assert publisher.subscribers == []
    publisher.close()


def test_web_pages_are_refused(tmp_path):
    with Checkpoint(str(tmp_path)) as checkpoint:
        source = HTTPSource(HTTPSettings(port=0, token=TOKEN, origins=("http://localhost:3000",)), checkpoint)
        try:
            source._open(RequestReader(io.BytesIO(head(headers={"Origin": "http://localhost:3000"}, length=1))).head())
            for origin in ("http://evil.example", "null"):
                with pytest.raises(RequestError) as refused:
                    source._open(RequestReader(io.BytesIO(head(headers={"Origin": origin}, length=1))).head())
                assert refused.value.status == 403
        finally:
            source.close()


# ---- tokens


def test_tokens_are_random_and_compared_in_constant_time(tmp_path):
    tokens = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with Checkpoint(str(tmp_path / name)) as checkpoint:
            source = HTTPSource(HTTPSettings(port=0), checkpoint)
            tokens.add(source._token)
            source.close()
    assert len(tokens) == 2
    assert all(len(token) * 6 >= 144 for token in tokens)
    for path in ("Sources/HTTP/Source.py", "Worker/Publisher.py"):
        assert "hmac.compare_digest" in calls(path)
        compared = [ast.unparse(node) for node in nodes()[path] if isinstance(node, ast.Compare)]
        assert not any("token" in one for one in compared)


def test_tokens_are_in_no_scene_setting_log_or_recording(tmp_path):
    settings = HTTPSettings(port=0, token=TOKEN)
    assert TOKEN not in json.dumps(settings.withoutSecrets().toJSON()) + repr(settings)
    process = Acquisition(settings, [tmp_path], "process1", PROGRAM)
    try:
        process.listen().untilReady()
        process.write(recordCommand(tmp_path / "recordings"))
        process.until(lambda: process.of("storage") and process.of("details"))
        with socket.create_connection(("127.0.0.1", portOf(process)), 5) as client:
            body = niftiFile(1)
            client.sendall(head(length=len(body), headers={"X-RTI-name": "a.nii", "Connection": "close"}) + body)
            process.until(lambda: process.received)
            assert b"200" in client.recv(100)
        process.send("stopRecording")
        process.until(lambda: process.of("recorded"))
        said = [line for line in process.lines if "details" not in line]
        assert TOKEN not in json.dumps(said)
        stored = [path for path in (tmp_path / "recordings").rglob("*") if path.is_file()]
        assert len(stored) > 2
        assert not any(TOKEN.encode() in path.read_bytes() for path in stored)
    finally:
        process.close()
    line = encode(PublishedReport(4711, "0123456789abcdef")).decode()
    assert "0123456789abcdef" not in withoutTokens(json.dumps(json.loads(line)))


def recordCommand(folder):
    from RealTimeImagingLib.Link.Commands import Record

    return Record(str(folder), "Test", {})


def portOf(process):
    return int(re.search(r":(\d+)/", process.of("details")[-1]["url"])[1])


def test_tokens_are_in_no_list_of_processes(tmp_path, monkeypatch):
    process = Acquisition(HTTPSettings(port=0, token=TOKEN), [tmp_path], "process1", PROGRAM)
    try:
        process.listen().untilReady()
        arguments = subprocess.run(["ps", "-A", "-o", "args"], capture_output=True, check=True).stdout
        assert b"acquisition" in arguments or b"python" in arguments
        assert TOKEN.encode() not in arguments
    finally:
        process.close()
    monkeypatch.setenv("REALTIMEIMAGING_TOKEN", TOKEN)
    assert readOptions(["http", "--record", str(tmp_path)]).settings.token == TOKEN


# ---- names and paths

HOSTILE = (
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\x",
    "..",
    ".",
    "",
    "a\0b",
    "a\nb",
    "con",
    "LPT1.nii",
    "x" * 500,
    "ü" * 99,
)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_from_outside_become_names_of_files(tmp_path, name):
    made = fileName(name)
    assert re.fullmatch(r"[\w.-]{1,81}", made)
    assert not made.startswith(".")
    assert not re.fullmatch(r"(con|lpt1)(\..*)?", made, re.IGNORECASE)
    folder = tmp_path / "in"
    folder.mkdir()
    recordings.record(folder, [recordings.frame(0, stream=name)], name="Test")
    assert os.listdir(tmp_path) == ["in"]
    assert all(path.is_file() for path in folder.iterdir())


def test_dicom_identifiers_become_names_of_files(tmp_path):
    identifiers = {"SOPInstanceUID": "../../x", "SeriesInstanceUID": "../../y", "SeriesDescription": "../../z"}
    path = made(tmp_path / "a.dcm", FRAMES[:1], **identifiers)
    data = path.read_bytes()
    path.unlink()
    files = Files(str(tmp_path / "received"))
    begin = data.index(b"\x08\0\x16\0")
    from pydicom.uid import ExplicitVRLittleEndian

    part = files.receive(data[:begin], ExplicitVRLittleEndian)
    part.write(data[begin:])
    stored = Path(files.store(part, part.header()).path)
    assert stored.parent.parent == tmp_path / "received"
    assert os.listdir(tmp_path) == ["received"]


@pytest.mark.parametrize("name", ["..%2F..%2Fa.nii", "%2Fetc%2Fa.nii", "..%5C..%5Ca.nii", "C:%5Ca.nii"])
def test_a_posted_name_is_a_name(name):
    assert frameRequestOf(headOf(f"?name={name}"), "Live").name == "a.nii"


NAMES = (
    "../a.raw",
    "/etc/passwd",
    "C:\\a.raw",
    "C:a.raw",
    "\\\\host\\share\\a.raw",
    "//host/a.raw",
    "sub/../../a",
    "a\0b",
    " ",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_header_names_files_of_its_own_folder(tmp_path, name):
    with pytest.raises(NotAnImageError, match="leads out of the header's folder"):
        dataFiles(str(tmp_path / "a.nhdr"), [name], 1)
    if os.name == "posix":
        outside = tmp_path.parent / "outside.raw"
        outside.write_bytes(bytes(9))
        (tmp_path / "link.raw").symlink_to(outside)
        (tmp_path / "links").symlink_to(tmp_path.parent)
        for linked in ("link.raw", "links/outside.raw"):
            with pytest.raises(NotAnImageError, match="leads out"):
                dataFiles(str(tmp_path / "a.nhdr"), [linked], 1)


@pytest.mark.parametrize("name", ["../a.raw", "/etc/passwd", "sub/a.raw", "..", "", "a\0b", None, 5])
def test_a_manifest_names_files_beside_it(tmp_path, name):
    assert not isFileName(name)
    recordings.record(tmp_path, [recordings.frame(0)])
    (path,) = tmp_path.glob("*.seq.nhdr")
    data = path.read_text()
    path.write_text(re.sub(r"(?m)^data file: .*$", lambda _: f"data file: {name}", data))
    with pytest.raises(RecordingError):
        openRecording(str(path))


@posix
@pytest.mark.parametrize("ending", ["nii", "nrrd", "mha", "dcm", "tif", "png", "npy", "par", "seq.nhdr"])
def test_devices_and_pipes_are_not_opened(tmp_path, ending):
    pipe, device = tmp_path / f"pipe.{ending}", tmp_path / f"device.{ending}"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    for path in (pipe, device):
        with pytest.raises(NotAnImageError, match="folder, pipe or device"):
            openImageFile(str(path)).missing()
        with pytest.raises(RecordingError, match="folder, pipe or device"):
            openRecording(str(path))


@posix
def test_links_do_not_redirect_what_is_written(tmp_path):
    victim, folder = tmp_path / "victim", tmp_path / "in"
    victim.write_text("untouched")
    folder.mkdir()
    replaceFile(str(folder / "a"), b"first")
    (folder / "a.tmp").symlink_to(victim)
    replaceFile(str(folder / "a"), b"second")
    assert (folder / "a").read_text() == "second"
    ring = RingWriter([str(folder)], "ring")
    (folder / "ring-0.ring").symlink_to(victim)
    with pytest.raises(RingError):
        ring.put(np.zeros((1, 2, 3), np.uint8))
    for suffix in (".raw", ".jsonl", ".json", ".seq.nhdr", ".lock", ".json.tmp", ".seq.nhdr.tmp"):
        (folder / f"Test-Scan{suffix}").symlink_to(victim)
    recordings.record(folder, [recordings.frame(0)])
    assert victim.read_text() == "untouched"


# ---- files and memory


@posix
def test_files_are_private(tmp_path):
    before = os.umask(0)
    try:
        makePrivateFolder(str(tmp_path / "recordings"))
        recordings.record(tmp_path / "recordings", [recordings.frame(0)])
        files = Files(str(tmp_path / "received"))
        files.open()
        part = files.receive(b"x", None)
        for path in [*(tmp_path / "recordings").iterdir(), Path(part.path)]:
            assert modeOf(path) == 0o600
        part.discard()
    finally:
        os.umask(before)
    assert modeOf(tmp_path / "received") == 0o700


@posix
def test_temporary_files_and_shared_memory_are_private(tmp_path):
    before = os.umask(0)
    folders = makeWorkFolders()
    try:
        ring = RingWriter(folders, "ring")
        ring.put(np.zeros((1, 2, 3), np.uint8))
        with Checkpoint(folders[-1]) as checkpoint:
            checkpoint.accept("Live")
            source = HTTPSource(HTTPSettings(port=0, token=TOKEN), checkpoint)
            source._open(RequestReader(io.BytesIO(head(length=1))).head())
            paths = [path for folder in folders for path in Path(folder).rglob("*")]
            assert {path.suffix for path in paths} >= {".ring", ""}
            assert len(paths) > 5
            for path in (*map(Path, folders), *paths):
                assert modeOf(path) == (0o700 if path.is_dir() else 0o600), path
            source.close()
        ring.close()
        with temporaryFolder() as folder:
            assert modeOf(folder) == 0o700
    finally:
        os.umask(before)
        removeWorkFolders(folders)
    assert not any(map(os.path.exists, folders))


# ---- code


def test_nothing_received_is_executed(tmp_path):
    forbidden = re.compile(
        r"eval|exec|compile|__import__|execfile|(pickle|cPickle|marshal|shelve|dill|joblib|yaml)\..*|os\.(system|popen)|"
        r"np\.load|numpy\.load|subprocess\.(getoutput|getstatusoutput)"
    )
    assert {(path, name) for path in nodes() for name in calls(path) if forbidden.fullmatch(name)} == set()
    keywords = [word for found in nodes().values() for node in found for word in getattr(node, "keywords", ())]
    risky = [word for word in keywords if word.arg in ("shell", "allow_pickle")]
    assert [ast.unparse(word) for word in risky if ast.unparse(word.value) != "False"] == []
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(NotAnImageError, match="Python objects"):
        openImageFile(str(tmp_path / "a.npy")).missing()


def test_received_text_is_plain_text():
    rich = re.compile(
        r"RichText|MarkdownText|AutoText|setHtml|toHtml|insertHtml|openExternalLinks|QTextBrowser|QWebEngine"
    )
    sources = [*LIBRARY.rglob("*.py"), *(LIBRARY.parent / "Resources").rglob("*.ui")]
    assert [path.name for path in sources if rich.search(path.read_text(encoding="utf-8"))] == []
    tips = [ast.unparse(node.args[0]) for path, node in callsOf("setToolTip") if path.startswith("Panel/")]
    assert len(tips) > 4
    assert [tip for tip in tips if not tip.startswith(("plainTip(", "_("))] == []
    assert callsOf("makePlain")


def test_a_scene_starts_nothing(tmp_path):
    from RealTimeImagingLib.Sources import Kinds

    (tmp_path / "evil.py").write_text("raise SystemExit('executed')")
    values = {**settingsOf("http").toJSON(), Kinds._MODULE: [str(tmp_path), "evil"]}
    with pytest.raises(SettingsError, match="no setting"):
        settingsFromJSON(values)
    assert "evil" not in sys.modules
    assert Kinds._MODULE not in toWorker(settingsOf("http"))
    with pytest.raises(SettingsError):
        settingsFromJSON({"kind": "evil"})


def test_a_processing_function_is_your_own_code():
    form = (LIBRARY.parent / "Resources" / "UI" / "ProcessingSection.ui").read_text(encoding="utf-8")
    assert form.count("It is your own code: it runs with all your rights.") == 2


def test_packages_are_asked_for():
    installing = {path for path in nodes() if any("pip_" in name for name in calls(path))}
    assert installing <= {"Host/Installing.py"}
    assert "_agreed" in calls("Host/Installing.py")
    requirements = [node.args[1].value for _path, node in callsOf("Package") if len(node.args) > 1]
    assert len(requirements) > 8
    assert [one for one in requirements if not re.fullmatch(r"[\w.\[\]-]+>=[\d.]+,<[\d.]+", one)] == []


# ---- limits


@pytest.mark.parametrize("target", [*FILES, *MESSAGES], ids=lambda target: target.name)
def test_damaged_bytes_are_harmless(target):
    before = logging.root.manager.disable
    target.prepare()
    try:
        assert target.corpus
        for data in target.corpus.values():
            check(target, data)
    finally:
        logging.disable(before)


def test_small_files_do_not_become_large_images(tmp_path, monkeypatch):
    monkeypatch.setattr(Inflate, "_REST", 1 << 16)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(niftiFile(1) + bytes(1 << 20)))
    with pytest.raises(NotAnImageError, match="unpacks to more than"):
        openImageFile(str(path)).missing()
    for module in (DICOMFile, DICOMReader):
        monkeypatch.setattr(module, "LONGEST_HEADER", 1 << 14)
    path = tmp_path / "a.dcm.gz"
    path.write_bytes(gzip.compress(made(tmp_path / "a.dcm", FRAMES).read_bytes() + bytes(20 << 20)))
    with pytest.raises(NotAnImageError, match="unpacks to more than"):
        openImageFile(str(path)).missing()
    path = tmp_path / "a.nii"
    path.write_bytes(niftiFile(1)[:42] + (b"\xff\x7f" * 3) + niftiFile(1)[48:])
    with pytest.raises(NotAnImageError, match="more than the limit"):
        openImageFile(str(path)).missing()


def numbersOf(promise):
    """All numbers behind a promise of the page."""
    text = PAGE.partition(f"**{promise}.**")[2].partition("\n-")[0]
    return [int(one.replace(",", "")) for one in re.findall(r"\d[\d,]*", text)]


def test_sizes_are_limited():
    assert numbersOf("Sizes are limited") == [DEFAULT_LIMIT >> 30, settingsOf("http").sizeLimit >> 30]
    assert {settingsOf(name).sizeLimit for name in SERVERS} == {1 << 30}


def test_streams_and_connections_are_limited(tmp_path):
    connections = [Server.MOST, OPENIGTLINK_CONNECTIONS, DICOM_CONNECTIONS, MRD_CONNECTIONS]
    assert numbersOf("Streams and connections are limited") == [STREAMS, *connections]
    numbers = {str(number): 1 for number in range(STREAMS)}
    assert hasRoom("5", numbers)
    assert not hasRoom("another", numbers)
    from RealTimeImagingLib.Sources.OpenIGTLink.Source import OpenIGTLinkSource

    with Checkpoint(str(tmp_path)) as checkpoint:
        checkpoint.numbers = numbers
        source = OpenIGTLinkSource(OpenIGTLinkSettings(), checkpoint)
        with pytest.raises(FrameError, match="100 streams already"):
            source._checkRoom("another")
        source.close()


def test_slow_senders_are_closed():
    assert numbersOf("Slow senders are closed") == [int(Server.FIRST), Server.LEAST_RATE // 1000]


def test_floods_are_cut_off():
    reports = []
    handler = LineLogHandler(reports.append)
    record = logging.LogRecord("library", logging.WARNING, "", 0, "again", None, None)
    for _number in range(MOST_RECORDS + 100):
        handler.emit(record)
    assert len(reports) == MOST_RECORDS + 1
    assert numbersOf("Floods are cut off") == [MOST_RECORDS, 10]
