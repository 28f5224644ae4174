"""A recording of many streams: few files are open at once, and replaced locks are held."""

import os
import textwrap

import pytest
from RealTimeImagingLib.Recording import openRecording, repair
from RealTimeImagingLib.Recording.Lock import Lock
from RealTimeImagingLib.Worker.WorkerRecording import MOST_OPEN, StreamRecorders
from unit.recordings import assertHolds, assertRepaired, child, frame


def framesOf(count, rounds):
    """Make one frame of each stream, then the next of each."""
    return [
        frame(turn, (1, 2, 2), stream=f"S{place}", receiveTime=1e9 + turn * count + place)
        for turn in range(rounds)
        for place in range(count)
    ]


def test_any_number_of_streams_is_stored_with_few_files_open(tmp_path):
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    count, frames = 100, framesOf(100, 3)
    recorders, before = StreamRecorders(str(tmp_path), "Test", {}), resource.getrlimit(resource.RLIMIT_NOFILE)
    inUse = len(os.listdir("/dev/fd"))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (inUse + 3 * MOST_OPEN + 20, before[1]))
        assert [recorders.append(each) for each in frames] == [True] * len(frames)
        assert repair(str(tmp_path)) == []
        progress = []
        headers, messages = recorders.finish(lambda done, total: progress.append((done, total)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (len(headers), messages, recorders.events(), progress[-1]) == (count, [], [], (count, count))
    for path in headers:
        stream = openRecording(path).stream
        assertHolds([path], [each for each in frames if each.stream == stream])
    assertRepaired(tmp_path)


LIVING = textwrap.dedent("""
    import sys
    from RealTimeImagingLib.Worker.WorkerRecording import StreamRecorders
    from unit.test_ManyStreams import framesOf
    recorders = StreamRecorders(sys.argv[1], "Test", {})
    for each in framesOf(40, 2):
        assert recorders.append(each)
    print("there", flush=True)
    sys.stdin.readline()
    import os
    os._exit(1)
""")


def test_streams_with_a_replaced_lock_are_left_alone_while_their_process_lives(tmp_path):
    process = child("-c", LIVING, tmp_path)
    process.stdout.readline()
    assert any(name.endswith(".streams.lock") for name in os.listdir(tmp_path))
    assert repair(str(tmp_path)) == []
    process.communicate("\n")
    found = repair(str(tmp_path))
    assert len(found) == 40
    assert {one.event.code for one in found} == {"recording-repaired"}
    assert sum(openRecording(path).count for one in found for path in one.headers) == 80
    assertRepaired(tmp_path)


def test_a_lock_is_held_as_long_as_its_holder(tmp_path):
    holder, lock = Lock.claim(str(tmp_path / "holder.lock")), Lock.claim(str(tmp_path / "a.lock"))
    lock.replaceBy("holder.lock")
    assert lock.there
    assert Lock.takeOver(lock.path) is None
    holder.release(remove=False)
    taken = Lock.takeOver(lock.path)
    assert taken is not None
    taken.release(remove=False)
    lock.release(remove=True)
    assert os.listdir(tmp_path) == ["holder.lock"]


def test_a_lock_whose_process_finishes_at_this_moment_is_not_taken_over(tmp_path, monkeypatch):
    holder, lock = Lock.claim(str(tmp_path / "holder.lock")), Lock.claim(str(tmp_path / "a.lock"))
    lock.replaceBy("holder.lock")
    open_ = os.open

    def finishing(path, flags):
        if path == holder.path:
            lock.release(remove=True)
            holder.release(remove=True)
        return open_(path, flags)

    monkeypatch.setattr(os, "open", finishing)
    assert Lock.takeOver(lock.path) is None
    assert os.listdir(tmp_path) == []
