"""HTTP source in the acquisition process: curl, fifty programs at once, recording, crashes."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Recording import openRecording
from RealTimeImagingLib.Sources.HTTP import HTTPSettings
from unit.conftest import PROGRAM, Acquisition, niftiFile, seriesFile, sumOf
from unit.httpSource import TOKEN, ask, rawQuery
from unit.test_HTTPSource import kinds
from unit.test_Worker import LIBRARY

SHAPE = (8, 64, 64)


class Posting(Acquisition):
    """Acquisition process with a listening HTTP source."""

    @property
    def details(self):
        return self.of("details")[-1]

    @property
    def port(self):
        return int(self.details["url"].split(":")[-1].split("/")[0])

    def connect(self):
        return closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20))

    def post(self, body, path="/frame", headers=None, method="POST"):
        headers = {"Authorization": f"Bearer {self.details['token']}", **(headers or {})}
        with self.connect() as link:
            return ask(link, body, path, headers, method)


@pytest.fixture
def acquire(workFolder):
    """Start acquisition processes, one after the other with the same checkpoint."""
    started = []

    def start(program=PROGRAM, **values):
        settings = HTTPSettings(**{"port": 0, "token": TOKEN, **values})
        started.append(Posting(settings, [workFolder], f"process{len(started) + 1}", program))
        started[-1].listen().untilReady().until(lambda: started[-1].of("details"))
        return started[-1]

    yield start
    for acquisition in started:
        acquisition.close()


def heldBy(acquisition):
    """Return the numbers of descriptors and threads of the process; zeros where unknown."""
    try:
        return [len(os.listdir(f"/proc/{acquisition.process.pid}/{kind}")) for kind in ("fd", "task")]
    except OSError:
        return [0, 0]


def storedSums(folder, stream="Live"):
    """Return the checksums of a recorded stream."""
    part = openRecording(str(folder / f"R-{stream}.seq.nhdr"))
    return [checksum(part.pixels(index)) for index in range(part.count)]


def test_answers_agree_with_counts_and_recording(acquire, workFolder, tmp_path):
    """The answers have the numbers of the counts and of the file."""
    acquisition = acquire()
    assert acquisition.post(niftiFile(0), "/frame?name=0.nii") == (200, {"stream": "Live", "number": 0, "numbers": [0]})
    acquisition.record(tmp_path / "recordings", "R")
    answers = [acquisition.post(niftiFile(number), f"/frame?name={number}.nii") for number in range(1, 20)]
    assert [(status, values["number"], values["recorded"]) for status, values in answers] == [
        (200, number, True) for number in range(1, 20)
    ]
    status, values = acquisition.post(seriesFile(range(20, 24)), "/frame?name=4d.nii")
    assert (status, values["numbers"], values["recorded"]) == (200, [20, 21, 22, 23], True)
    assert acquisition.post(b"nothing" * 60)[0] == 415
    assert acquisition.post("", "/status", method="GET")[1]["recorded"] == 23
    assert acquisition.stop() == 0
    assert acquisition.counts == {"received": {"Live": 24}, "rejected": 1, "recorded": 23, "failed": 0}
    assert storedSums(tmp_path / "recordings") == [sumOf(number) for number in range(1, 24)]
    assert acquisition.codes == ["listening", "unsupported"]
    assert not list(workFolder.glob("requests*"))


def test_the_answer_says_when_recording_failed(acquire, tmp_path):
    """Status 200, because the image is received, and recorded: false."""
    acquisition = acquire()
    (tmp_path / "file").write_text("no folder")
    acquisition.record(tmp_path / "file" / "below", "R")
    status, values = acquisition.post(niftiFile(0), "/frame?name=0.nii")
    assert (status, values["number"], values["recorded"]) == (200, 0, False)
    assert acquisition.stop() == 0
    assert (acquisition.counts["recorded"], acquisition.counts["failed"]) == (0, 1)


def test_fifty_programs_at_once(acquire, tmp_path):
    """While recording: each answered number is a frame, stored as sent."""
    acquisition = acquire()
    acquisition.record(tmp_path / "recordings", "R")
    start, rounds, token = threading.Barrier(50), 4, acquisition.details["token"]
    # The files of the recording and the memory for frames of this size are there from the first one on.
    assert acquisition.post(niftiFile(0, SHAPE), "/frame?name=0.nii")[0] == 200
    acquisition.until(lambda: acquisition.frames)
    before = heldBy(acquisition)
    before[1] += 1  # the thread that watches buffers starts with the first use of one

    def send(client):
        found = []
        start.wait(20)
        with acquisition.connect() as link:
            for turn in range(rounds):
                number = client * rounds + turn
                if number % 2:
                    path, body = rawQuery(number, SHAPE, name=f"{number}")
                else:
                    path, body = f"/frame?name={number}.nii", niftiFile(number, SHAPE)
                found.append((number, *ask(link, body, path, {"Authorization": f"Bearer {token}"})))
        return found

    with ThreadPoolExecutor(50) as pool:
        answers = [one for found in pool.map(send, range(50)) for one in found]
    assert {status for _, status, _ in answers} == {200}
    numbers = {values["number"]: number for number, _, values in answers}
    assert sorted(numbers) == list(range(1, 50 * rounds + 1))
    assert all(values["recorded"] for _, _, values in answers)
    acquisition.until(lambda: all(now <= then for now, then in zip(heldBy(acquisition), before, strict=True)))
    assert acquisition.stop() == 0
    assert acquisition.counts == {"received": {"Live": 201}, "rejected": 0, "recorded": 201, "failed": 0}
    assert storedSums(tmp_path / "recordings")[1:] == [sumOf(numbers[number], SHAPE) for number in range(1, 201)]


# ---- curl

needsCurl = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


def curl(acquisition, *arguments, token=TOKEN, path="/frame"):
    """Return status and answer from curl."""
    command = ["curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}", "-H", f"Authorization: Bearer {token}"]
    done = subprocess.run(
        [*command, *arguments, f"http://127.0.0.1:{acquisition.port}{path}"], capture_output=True, text=True, check=True
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


@needsCurl
def test_curl_with_every_kind(acquire, tmp_path):
    """With the command from the panel, each kind of file, with and without Expect."""
    acquisition = acquire(token="")
    done = 0
    for body, sum_, _, name in kinds(tmp_path):
        (tmp_path / name).write_bytes(body)
        line = acquisition.details["curl"].replace("image.nii.gz", name)
        shown = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert json.loads(shown) == {"stream": "Live", "number": done, "numbers": [done]}
        acquisition.until(lambda done=done: acquisition.frames and acquisition.frames[-1][1] == done)
        assert acquisition.frames[-1][2:] == (name, sum_)
        done += 1
    large = tmp_path / "large.nii"
    large.write_bytes(niftiFile(1, (16, 256, 256)))
    token = acquisition.details["token"]
    assert curl(acquisition, "--data-binary", f"@{large}", token=token, path="/frame?name=l.nii")[0] == 200
    chunks = ("-H", "Transfer-Encoding: chunked", "-T", str(large), "-X", "POST")
    assert curl(acquisition, *chunks, token=token, path="/frame?name=l.nii")[0] == 200
    assert acquisition.stop() == 0
    assert acquisition.counts["received"] == {"Live": done + 2}


@needsCurl
def test_curl_receives_reasons(acquire, tmp_path):
    acquisition = acquire()
    image = tmp_path / "a.nii"
    image.write_bytes(niftiFile(1))
    send = ("--data-binary", f"@{image}")
    assert curl(acquisition, *send, token="another-token-which-is-wrong")[0] == 401
    assert curl(acquisition, *send, "-H", "Content-Length: 5")[0] in (400, 415)
    assert curl(acquisition, *send, path="/frame?shape=2,3&dtype=uint8")[0] == 400
    assert curl(acquisition, *send, path="/frames")[0] == 404
    assert curl(acquisition, path="/frame")[0] == 405
    assert curl(acquisition, "-F", f"file=@{image}")[0] == 415
    assert curl(acquisition, "-H", "Content-Length:", "-X", "POST")[0] == 411
    huge = tmp_path / "huge.nii"
    with open(huge, "wb") as file:
        file.truncate(2 << 30)
    assert curl(acquisition, "-T", str(huge), "-X", "POST", "-H", "Expect: 100-continue")[0] == 413
    assert acquisition.post(niftiFile(1), "/frame?name=a.nii")[0] == 200
    assert acquisition.stop() == 0
    assert acquisition.counts["received"] == {"Live": 1}
    assert acquisition.counts["rejected"] >= 6


def test_the_event_of_a_rejected_image_carries_the_count_with_it(acquire):
    acquisition = acquire()
    assert acquisition.post(b"no image", "/frame")[0] == 400
    assert acquisition.stop() == 0
    (line,) = [line for line in acquisition.lines if line.get("event", {}).get("level") == "warning"]
    assert line["counts"]["rejected"] == 1


# ---- crashes


def test_a_kill_at_any_moment(acquire, tmp_path):
    """Port and token stay; every answered image is received."""
    acquisition = acquire(token="")
    acquisition.record(tmp_path / "recordings", "R")
    before, answered = acquisition.details, []
    for turn in range(3):
        for number in range(5):
            status, values = acquisition.post(niftiFile(5 * turn + number), f"/frame?name={5 * turn + number}.nii")
            assert status == 200
            answered.append(values["number"])
        acquisition.kill()
        acquisition = acquire(token="")
        assert acquisition.details == before
        assert acquisition.codes == ["listening"]
    assert answered == list(range(15))
    assert acquisition.stop() == 0
    assert acquisition.counts == {"received": {"Live": 15}, "rejected": 0, "recorded": 5, "failed": 0}


def test_an_image_that_crashes_its_reader(acquire, tmp_path):
    """The sender has no answer, the next process reports it and receives the next image."""
    program = tmp_path / "program.py"
    program.write_text(f"""
import os, sys
sys.path[0] = {str(LIBRARY)!r}
from RealTimeImagingLib import Formats
from RealTimeImagingLib.Worker.Worker import main

class Reader(Formats.NIfTI):
    def images(self, first=0):
        for index, image in enumerate(super().images(first)):
            if image.attributes.get("VolumeIndex", "2") == "2":
                os._exit(9)
            yield image

Formats._READERS[".nii.gz"] = Reader
main()
os._exit(0)
""")
    for body, taken in ((gzip.compress(niftiFile(1)), 0), (gzip.compress(seriesFile(range(4))), 2)):
        acquisition = acquire(program)
        with pytest.raises((http.client.HTTPException, OSError)):
            acquisition.post(body, "/frame?name=bad.nii.gz")
        acquisition.process.wait(10)
        acquisition = acquire(program)
        acquisition.until(lambda acquisition=acquisition: "crashed" in acquisition.codes)
        words = next(event["text"] for event in acquisition.of("event") if event["code"] == "crashed")
        assert ("skipped" in words) is (taken == 0)
        assert acquisition.post(niftiFile(2), "/frame?name=good.nii")[0] == 200
        assert acquisition.stop() == 0
    assert acquisition.counts["received"] == {"Live": 1 + 2 + 1}
    assert acquisition.counts["rejected"] == 1


def test_stop_while_images_arrive(acquire, tmp_path):
    """Every answer with a number is a recorded frame; other requests are refused or cut off."""
    acquisition = acquire()
    acquisition.record(tmp_path / "recordings", "R")
    answered, begun = [], threading.Event()

    def send():
        number = 0
        try:
            with acquisition.connect() as link:
                while True:
                    status, values = ask(link, niftiFile(number), f"/frame?name={number}.nii")
                    if status != 200:
                        return
                    answered.append(values)
                    number += 1
                    if number > 20:
                        begun.set()
        except (OSError, http.client.HTTPException):
            return

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(20)
    assert acquisition.stop() == 0
    for thread in threads:
        thread.join(10)
    received = acquisition.counts["received"]["Live"]
    numbers = sorted(values["number"] for values in answered)
    assert len(set(numbers)) == len(numbers)
    assert all(values["recorded"] for values in answered)
    # An image whose answer was cut off with its connection may be recorded, too.
    assert set(numbers) <= set(range(received))
    assert received - len(numbers) <= len(threads)
    assert acquisition.counts["recorded"] == received == len(storedSums(tmp_path / "recordings"))
