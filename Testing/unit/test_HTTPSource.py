"""Requests and answers: every kind of image, every reason for a refusal."""

from __future__ import annotations

import gzip
import json
from urllib.parse import quote

import numpy as np
import pytest
from RealTimeImagingLib.Model.Errors import SettingsError
from RealTimeImagingLib.Model.Frame import Image, checksum, pictureToRAS
from RealTimeImagingLib.Simulator.Images import niftiBytes
from RealTimeImagingLib.Sources.HTTP import HTTPSettings
from RealTimeImagingLib.Sources.HTTP.FrameRequest import NAMES
from RealTimeImagingLib.Sources.HTTP.Source import STREAMS
from unit import test_MetaImage, test_NRRD
from unit.conftest import niftiFile, seriesFile, sumOf, volume
from unit.httpSource import AUTHORIZATION, TOKEN, Server, chunked, head, picture, posted, rawQuery
from unit.replaySource import pixelsOf, sequence, sumsOf
from unit.test_DICOM import made

MATRIX = [[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0, 3.0, 30], [0, 0, 0, 1]]


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    made = Server(folder)
    yield made
    made.close()


def answer(server, data, status=200):
    """Return the answer to one request after checking its status."""
    ((found, _, values), *_) = server.ask(data)
    assert found == status, values
    return values


# ---- kinds of images


def kinds(folder):
    """Yield (body, checksum, Content-Type, file name) of each kind."""
    pixels = volume(5).pixels
    nrrd = test_NRRD.written(folder / "a.nrrd", pixels.transpose()).read_bytes()
    mha = test_MetaImage.written(folder / "a.mha", pixels, packed=True).read_bytes()
    cine = np.arange(1 * 8 * 10, dtype=np.uint16).reshape(1, 8, 10)
    dicom = made(folder / "a.dcm", cine).read_bytes()
    png, jpeg = picture("PNG"), picture("JPEG")
    yield niftiFile(5), sumOf(5), "application/x-nifti", "a.nii"
    yield gzip.compress(niftiFile(5)), sumOf(5), "application/gzip", "a.nii.gz"
    yield nrrd, checksum(pixels), "application/x-nrrd", "a.nrrd"
    yield mha, checksum(pixels), "application/x-metaimage", "a.mha"
    yield dicom, checksum(cine), "application/dicom", "a.dcm"
    yield png[0], checksum(png[1]), "image/png", "a.png"
    yield jpeg[0], checksum(jpeg[1]), "image/jpeg; quality=high", "a.jpg"


@pytest.mark.parametrize("by", ["type", "name", "format", "bytes", "chunks"])
def test_every_kind_of_image(server, tmp_path, by):
    """Identified by Content-Type, file name, format, or its bytes."""
    for number, (body, sum_, kind, name) in enumerate(kinds(tmp_path)):
        path, headers = "/frame", {"Content-Type": "application/x-www-form-urlencoded"}
        if by == "type":
            headers = {"Content-Type": kind}
        elif by == "name":
            path = f"/frame?name={name}"
        elif by == "format":
            path, headers = f"/frame?format={name.removeprefix('a.')}", {"Content-Type": "text/plain"}
        data = posted(body, path, headers)
        if by == "chunks":
            data = head(headers={"Transfer-Encoding": "chunked"}) + chunked(body)
        assert answer(server, data) == {"stream": "Live", "number": number, "numbers": [number]}, name
        assert server.sums[-1] == sum_, name
        assert server.frames[-1].image.attributes.get("SourceFile") == (name if by == "name" else None)
    assert server.counts == (7, 0)
    assert server.codes == []
    assert list((tmp_path / "work" / "requests").iterdir()) == []


def test_parameters_of_an_image(server):
    words = "größer & schöner"
    path = f"/frame?stream={quote('My Probe')}&time=1700000000.25&attr.Operator={quote(words)}&name=C:\\x\\scan.nii"
    headers = {"X-RTI-Attributes": json.dumps({"SpecimenID": "UF-1", "Description": "mine"})}
    assert answer(server, posted(path=path, headers=headers))["stream"] == "My Probe"
    frame = server.frames[-1]
    assert frame.stream == "My Probe"
    assert frame.image.deviceTime == 1700000000.25
    said = {"Operator": words, "SpecimenID": "UF-1", "Description": "mine", "SourceFile": "scan.nii"}
    assert said.items() <= dict(frame.image.attributes).items()
    headers = {"X-RTI-stream": "Überall", "X-rti-TIME": "5"}
    answer(server, posted(headers=headers))
    assert (server.frames[-1].stream, server.frames[-1].image.deviceTime) == ("Überall", 5.0)


def test_raw_pixels(server):
    """All types and byte orders, two to four axes, a matrix; in the address or in headers."""
    for number, dtype in enumerate(("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")):
        path, body = rawQuery(number, (2, 3, 5), dtype)
        answer(server, posted(body, path))
        assert server.sums[-1] == checksum(volume(number, (2, 3, 5), np.dtype(dtype)).pixels)
    pixels = volume(9, (4, 5, 6), np.uint16).pixels
    headers = {
        "Content-Type": "application/octet-stream",
        "X-RTI-Shape": "[4, 5, 6]",
        "X-RTI-DType": "uint16",
        "X-RTI-ByteOrder": "big",
        "X-RTI-IJKToRAS": json.dumps(MATRIX),
        "X-RTI-Time": "12.5",
    }
    answer(server, posted(pixels.astype(">u2").tobytes(), "/frame", headers))
    assert server.sums[-1] == checksum(pixels)
    assert server.frames[-1].image.ijkToRAS.tolist() == MATRIX
    assert server.frames[-1].image.deviceTime == 12.5
    flat = ",".join(str(value) for row in MATRIX for value in row)
    body = np.arange(24, dtype=np.int64).tobytes()
    path = f"/frame?shape=2,3,4&dtype=int64&ijkToRAS={flat}&format=raw"
    answer(server, posted(body, path, {"Content-Type": "image/png"}))
    assert server.frames[-1].image.pixels.dtype == np.float64
    assert server.frames[-1].image.ijkToRAS.tolist() == MATRIX
    path, body = rawQuery(1, (6, 7, 3), "uint8")
    answer(server, posted(body, path))
    assert server.frames[-1].image.pixels.shape == (1, 6, 7, 3)
    assert (server.frames[-1].image.ijkToRAS == pictureToRAS(7, 6)).all()
    answer(server, posted(body, path + "&colour=false"))
    assert server.frames[-1].image.pixels.shape == (6, 7, 3)
    answer(server, head(path=path, headers={"Transfer-Encoding": "chunked"}) + chunked(body, 7))
    assert server.counts == (13, 0)


def test_a_file_with_several_images(server):
    """Each is a frame; the time parameter is that of the first, the file has the others."""
    assert answer(server, posted(seriesFile(range(4))))["numbers"] == [0, 1, 2, 3]
    assert server.sums == sumsOf(range(4))
    timed = sequence(pixelsOf(range(3)), [0, 0.5, 2.0])
    assert answer(server, posted(timed, "/frame?time=100"))["numbers"] == [4, 5, 6]
    assert [frame.image.deviceTime for frame in server.frames[4:]] == [100, 100.5, 102]
    answer(server, posted(seriesFile(range(2)), "/frame?time=100"))
    assert [frame.image.deviceTime for frame in server.frames[7:]] == [100, None]


def test_the_answer_says_whether_the_image_is_recorded(server):
    for stored in (True, False):
        server.stored = stored
        values = answer(server, posted(seriesFile(range(2))))
        assert values["recorded"] is stored
    server.stored = None
    assert "recorded" not in answer(server, posted())
    assert (server.checkpoint.recorded, server.checkpoint.failed) == (2, 2)


# ---- refusals


def refusals():
    """Yield name, request, status of the answer, and a word in it."""
    path, body = rawQuery(1)
    nifti = niftiFile(1)
    yield "not an image", posted(b"no image at all" * 99), 415, "supported format"
    yield "empty", posted(b""), 400, "no body"
    yield "cut", posted(nifti[:-1]), 400, "incomplete"
    yield "too short to tell", posted(b"\x01\x02"), 400, "too few"
    yield "cut gzip", posted(gzip.compress(nifti)[:-9]), 400, "incomplete"
    yield "another kind than announced", posted(nifti, headers={"Content-Type": "image/png"}), 400, "signature"
    yield "an unknown type", posted(nifti, headers={"Content-Type": "text/html"}), 415, "text/html"
    yield "a form", posted(nifti, headers={"Content-Type": "multipart/form-data; boundary=x"}), 415, "--data-binary"
    yield "an unknown format", posted(nifti, "/frame?format=zip"), 415, ".nrrd"
    yield "compressed for transfer", posted(nifti, headers={"Content-Encoding": "gzip"}), 415, "Content-Encoding"
    yield "half of a pair", posted(b"NRRD0005\n", "/frame?name=a.nhdr"), 415, "second file"
    yield "half of a pair, as format", posted(b"x", "/frame?format=mhd"), 415, "second file"
    yield "no length", head(), 411, "Content-Length"
    yield "announced 2 GB", head(length=2 << 30), 413, "2,147,483,648"
    yield "announced 2 GB, raw", head(path="/frame?shape=2048,1024,1024&dtype=uint8", length=2 << 30), 413, "more than"
    yield "no shape", posted(body, path.replace("shape", "attr.X")), 400, "shape"
    yield "no pixel type", posted(body, path.replace("dtype", "attr.X")), 400, "dtype"
    yield "too few pixels", posted(body[:-1], path), 400, "48 bytes; 47 are announced"
    yield "too many pixels", posted(body + b"x", path), 400, "49 are announced"
    chunks = head(path=path, headers={"Transfer-Encoding": "chunked"})
    yield "too few pixels in chunks", chunks + chunked(body[:-1]), 400, "47 arrived"
    yield "too many pixels in chunks", chunks + chunked(body + b"x"), 400, "more arrived"
    yield "a flat shape", posted(body, "/frame?shape=24&dtype=int16"), 400, "2 to 4"
    yield "a huge shape", posted(body, "/frame?shape=4294967295,4294967295,4294967295&dtype=int16"), 400, "announced"
    yield "an invalid shape", posted(body, "/frame?shape=a,b&dtype=int16"), 400, "JSON"
    yield "a shape of deep lists", posted(body, "/frame?shape=" + "[" * 9999 + "&dtype=int16"), 400, "JSON"
    yield "a negative shape", posted(body, "/frame?shape=-2,-12&dtype=int16"), 400, "above 0"
    yield "two components", posted(b"x" * 16, "/frame?shape=1,2,4,2&dtype=uint8"), 400, "3 or 4"
    yield "an unknown pixel type", posted(body, "/frame?shape=2,12&dtype=complex64"), 400, "complex64"
    yield "an unknown byte order", posted(body, path + "&byteOrder=middle"), 400, "little or big"
    yield "an invalid colour", posted(body, path + "&colour=red"), 400, "true or false"
    yield "an invalid matrix", posted(body, path + "&ijkToRAS=1,2,3"), 400, "16 numbers"
    yield "a flat matrix", posted(body, path + "&ijkToRAS=" + ",".join(["0"] * 16)), 400, "last row"
    yield "a matrix of words", posted(body, path + '&ijkToRAS=["a"]'), 400, "16 numbers"
    yield "a matrix of huge numbers", posted(body, path + "&ijkToRAS=" + ",".join(["9" * 400] * 16)), 400, "16 numbers"
    yield "a matrix for a file", posted(nifti, "/frame?ijkToRAS=1"), 400, "raw pixels"
    yield "an invalid time", posted(nifti, "/frame?time=now"), 400, "seconds"
    yield "a time in milliseconds", posted(nifti, "/frame?time=1700000000000"), 400, "seconds"
    yield "an unknown name", posted(nifti, "/frame?channel=A"), 400, "channel"
    yield "an unknown header", posted(nifti, headers={"X-RTI-Channel": "A"}), 400, "channel"
    yield "two names", posted(nifti, "/frame?stream=A", {"X-RTI-Stream": "B"}), 400, "different"
    yield "an invalid attribute name", posted(nifti, "/frame?attr.a:b=1"), 400, "letters"
    yield "an attribute without text", posted(nifti, headers={"X-RTI-Attributes": '{"TR": 2}'}), 400, "TR"
    yield "invalid attributes", posted(nifti, headers={"X-RTI-Attributes": "[1]"}), 400, "object"
    yield (
        "characters without an encoding",
        posted(nifti, headers={"X-RTI-Attributes": '{"A": "\\ud800"}'}),
        400,
        "characters",
    )
    yield "an unprintable stream", posted(nifti, "/frame?stream=a%00b"), 400, "printable"
    yield "a very long stream", posted(nifti, "/frame?stream=" + "a" * 201), 400, "200"
    yield "another address", posted(nifti, "/frames"), 404, "/frames"
    yield "another method", head("PUT", length=0), 405, "POST"
    yield "posted to the status", posted(nifti, "/status"), 405, "GET"


@pytest.mark.parametrize(("data", "status", "words"), [pytest.param(*row, id=name) for name, *row in refusals()])
def test_refused_requests(server, tmp_path, data, status, words):
    """Status and reason for the sender, one event, counted once; the next image is received."""
    values = answer(server, data, status)
    assert words in values["error"]
    assert server.counts == (0, 1)
    assert len(server.codes) == 1
    assert values["error"] in server.events[-1].text
    assert str(tmp_path) not in values["error"]
    assert "request-" not in values["error"]
    assert answer(server, posted())["number"] == 0
    assert server.counts == (1, 1)
    assert list((tmp_path / "work" / "requests").iterdir()) == []


def test_references_to_other_files_are_not_followed(server, tmp_path):
    """A sender learns neither pixels nor size of other files."""
    secret = tmp_path / "secret.raw"
    secret.write_bytes(bytes(24))
    nrrd = f"NRRD0005\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\ndata file: {secret}\n\n".encode()
    mha = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 4 3 2\nElementType = MET_UCHAR\n"
        f"ElementDataFile = {secret}\n"
    ).encode()
    for body in (nrrd, mha, nrrd.replace(b"secret", b"nothing"), mha.replace(b"secret", b"nothing")):
        for name in ("", "?name=a.nrrd" if body.startswith(b"NRRD") else "?name=a.mha"):
            assert "out of the header's folder" in answer(server, posted(body, f"/frame{name}"), 415)["error"]
    beside = nrrd.replace(str(secret).encode(), b"beside.raw")
    assert "another file" in answer(server, posted(beside, "/frame"), 415)["error"]
    assert server.frames == []


def test_a_small_file_with_a_huge_image(tmp_path):
    """The limit holds for the decompressed image, too."""
    small = Server(tmp_path, sizeLimit=1 << 20)
    pixels = np.zeros((64, 128, 129), np.uint8)
    packed = test_NRRD.written(tmp_path / "b.nrrd", pixels, "gzip").read_bytes()
    nifti = gzip.compress(niftiBytes(Image(pixels, np.eye(4))))
    assert max(len(packed), len(nifti)) < 1 << 14
    try:
        assert "bytes" in answer(small, posted(packed), 413)["error"]
        assert "bytes" in answer(small, posted(nifti), 413)["error"]
    finally:
        small.close()


@pytest.mark.parametrize(
    "token", ["", "another-token-that-is-wrong", TOKEN + "x", TOKEN[:-1], "größer-als-ascii-erlaubt"]
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_without_the_token_every_request_is_refused(server, token, method):
    path = "/frame" if method == "POST" else "/status"
    ((status, headers, values), *_) = server.ask(head(method, path, length=1000, token=token))
    assert status == 401
    assert headers["www-authenticate"] == "Bearer"
    assert "Bearer TOKEN" in values["error"]
    assert TOKEN not in str(values)
    assert server.codes == ["wrong-token"]
    assert server.counts == (0, int(method == "POST"))
    ((status, _, _), *_) = server.ask(head("GET", "/secret", token=token))
    assert status == 401


def test_a_long_method_makes_no_long_event(server):
    ((status, _, _), *_) = server.ask(head("A" * 20000, token=""))
    assert status == 401
    assert len(server.events[-1].text) < 300


def test_many_wrong_tokens_are_one_event_a_second(server):
    """All are counted; the next event names the number of the others."""
    for _ in range(30):
        ((status, *_), *_) = server.ask(head(length=0, token=""))
        assert status == 401
    assert server.codes == ["wrong-token"]
    assert server.counts == (0, 30)
    server.step(passes=1.1)
    assert server.codes == ["wrong-token"] * 2
    assert "28 more" in server.events[-1].text
    server.step(passes=5)
    assert server.codes == ["wrong-token"] * 2


def test_a_stop_names_the_number_of_counted_refusals(server):
    for _ in range(30):
        server.ask(head(length=0, token=""))
    (event,) = server.source.rest()
    assert "28 more" in event.text


def test_the_status(server):
    server.stored = True
    answer(server, posted(path="/frame?stream=A"))
    answer(server, posted(path="/frame?stream=B"))
    answer(server, posted(b"nothing" * 99), 415)
    status = answer(server, head("GET", "/status"))
    assert status.pop("connections") >= 1
    assert status == {
        "state": "running",
        "received": 2,
        "rejected": 1,
        "recorded": 2,
        "failed": 0,
        "streams": {"A": {"received": 1}, "B": {"received": 1}},
        "onTheWay": 0,
        "answers": {"200": 2, "415": 1},
        "sizeLimit": 1 << 30,
    }


def test_the_number_of_streams_is_limited(server):
    for number in range(STREAMS):
        server.checkpoint.accept(f"S{number}")
    assert "streams already" in answer(server, posted(), 400)["error"]
    answer(server, posted(path="/frame?stream=S7"))


# ---- settings, token, port


def test_token_and_port_survive_a_restart(tmp_path):
    """And differ for another source."""
    seen = []
    for number, name in enumerate(("one", "one", "other")):
        (tmp_path / name).mkdir(exist_ok=True)
        server = Server(tmp_path / name, token="")
        seen.append((server.port, server.source.details["token"]))
        assert server.checkpoint.kept["port"] == server.port
        server.close()
        assert len(seen[-1][1]) >= 24, number
    assert seen[0] == seen[1]
    assert seen[2][1] != seen[0][1]


def test_settings_that_cannot_work():
    for wrong in (
        {"host": " "},
        {"port": -1},
        {"port": "80"},
        {"token": "short"},
        {"token": "has a space in it, and is long enough"},
        {"token": 1234567890123456789},
        {"allowed": ("nobody",)},
        {"origins": ("lab.example.org",)},
        {"origins": ("https://lab.example.org/page",)},
        {"origins": ("https://user@lab.example.org",)},
        {"origins": ("*",)},
        {"origins": ("https://*.example.org",)},
        {"origins": ("https://größe.example.org",)},
        {"origins": ("http://localhost:080",)},
        {"origins": ("http://localhost:65536",)},
        {"origins": ("null",)},
        {"origins": "https://lab.example.org"},
        {"sizeLimit": 5},
        {"stream": " "},
    ):
        with pytest.raises(SettingsError):
            HTTPSettings(**wrong)
    made = HTTPSettings(token=TOKEN, allowed=["10.0.0.0/8"])
    assert TOKEN not in repr(made)
    assert made.withoutSecrets() == HTTPSettings(allowed=("10.0.0.0/8",))


def test_listening_to_the_network_is_a_warning(tmp_path):
    server = Server(tmp_path, host="0.0.0.0")
    try:
        server.until(lambda: server.events)
        event = server.events[0]
        assert (event.code, event.level) == ("listening", "warning")
        assert "not encrypted" in event.text
        assert "0.0.0.0" not in server.source.details["url"]
        assert answer(server, posted())["number"] == 0
    finally:
        server.close()


def test_only_allowed_computers_connect(tmp_path):
    server = Server(tmp_path, allowed=("10.1.2.3",))
    try:
        with server.connect():
            server.until(lambda: server.codes == ["peer-refused"])
    finally:
        server.close()


# ---- web pages

PAGE = "https://lab.example.org"


@pytest.fixture
def pages(tmp_path):
    """A server that accepts images from PAGE and from a page of this computer."""
    made = Server(tmp_path, origins=("HTTPS://Lab.Example.org:443/", "http://[::1]:3000"))
    assert made.settings.origins == (PAGE, "http://[::1]:3000")
    yield made
    made.close()


def preflight(origin=PAGE, path="/frame", method="POST"):
    """Return the question of a browser, which has no token."""
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return head("OPTIONS", path, {**asked, "Access-Control-Request-Headers": "authorization,x-rti-shape"}, token="")


def sharing(headers):
    return {name: value for name, value in headers.items() if name.startswith("access-control-") or name == "vary"}


def test_a_browser_may_send_images_of_an_allowed_page(pages):
    """The question first, then the image, over one connection; also the answer to a refused image can be read."""
    bad = posted(b"nothing" * 60, headers={"Origin": PAGE})
    answers = pages.ask(preflight() + posted(headers={"Origin": PAGE}) + bad, 3)
    assert [status for status, _, _ in answers] == [200, 200, 415]
    may, received, refused = (sharing(headers) for _, headers, _ in answers)
    assert received == {
        "access-control-allow-origin": PAGE,
        "access-control-expose-headers": "Retry-After",
        "vary": "Origin",
    }
    assert refused == received
    assert received.items() <= may.items()
    assert may["access-control-allow-methods"] == "POST, GET"
    assert {"Authorization", "Content-Type", "X-RTI-shape"} <= set(may["access-control-allow-headers"].split(", "))
    assert pages.sums == [sumOf(1)]
    assert pages.counts == (1, 1)
    assert pages.codes == ["unsupported"]


def test_a_page_needs_the_token_and_can_read_that_it_is_wrong(pages):
    ((status, headers, _), *_) = pages.ask(head(length=0, headers={"Origin": PAGE}, token=""))
    assert (status, headers["access-control-allow-origin"]) == (401, PAGE)
    assert pages.codes == ["wrong-token"]


@pytest.mark.parametrize("origin", ["https://other.example.org", "http://lab.example.org", f"{PAGE}:444", "null", ""])
@pytest.mark.parametrize("data", [preflight, lambda origin: posted(headers={"Origin": origin})], ids=["may", "send"])
def test_pages_of_other_origins_are_refused(pages, origin, data):
    """Even with the token; one event a second names the page."""
    for _ in range(3):
        ((status, headers, values), *_) = pages.ask(data(origin))
        assert status == 403
        assert not sharing(headers)
        assert f"Web pages of {origin} may not" in values["error"]
    # No setting allows the origin of all pages that are opened from a file.
    assert ("Allowed web pages" in values["error"]) == (origin != "null")
    assert pages.codes == ["wrong-origin"]
    assert values["error"] in pages.events[-1].text
    assert pages.frames == []


def test_without_allowed_pages_every_page_is_refused(server):
    answer(server, preflight(), 403)
    answer(server, posted(headers={"Origin": PAGE}), 403)
    assert server.counts == (0, 1)


def test_every_name_is_documented():
    from RealTimeImagingLib.Sources.HTTP import FrameRequest as HTTPWanted

    for name in NAMES:
        assert f"``{name}``" in HTTPWanted.__doc__
    assert AUTHORIZATION["Authorization"].startswith("Bearer ")


def test_the_example_command_names_the_program_of_windows(server, monkeypatch):
    """In Windows PowerShell 5.1, curl is another command."""
    assert server.port
    assert server.source.details["curl"].startswith("curl -H ")
    with monkeypatch.context() as patch:
        patch.setattr("sys.platform", "win32")
        assert server.source.details["curl"].startswith("curl.exe -H ")
