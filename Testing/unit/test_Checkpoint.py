import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Sources.Checkpoint import (
    FILES_NAME,
    NUMBERS_NAME,
    SPARE_LINES,
    STATE_NAMES,
    Checkpoint,
    Verdict,
)
from unit.examples import examples
from unit.recordings import filesOfAtMost

A, B = ("/in/a.nii", (10, 1)), ("/in/b.nii", (20, 2))


def memory(checkpoint):
    """The state of a checkpoint in a form that can be compared."""
    return (
        dict(checkpoint.numbers),
        checkpoint.rejected,
        checkpoint.listed,
        dict(checkpoint.done),
        {path: (file.stamp, file.accepted, file.deaths) for path, file in checkpoint.unfinished.items()},
    )


def remembered(folder):
    with Checkpoint(str(folder)) as checkpoint:
        return memory(checkpoint)


def test_a_new_checkpoint_is_empty(workFolder):
    assert remembered(workFolder) == ({}, 0, False, {}, {})


def test_frames_are_numbered_without_gaps_in_each_stream(workFolder):
    with Checkpoint(str(workFolder)) as checkpoint:
        assert [checkpoint.accept("T1") for _ in range(3)] == [0, 1, 2]
        assert checkpoint.accept("T2") == 0
    with Checkpoint(str(workFolder)) as checkpoint:
        assert checkpoint.accept("T1") == 3
        assert checkpoint.accept("T2") == 1


def test_files_of_the_start_are_known_after_a_restart(workFolder):
    with Checkpoint(str(workFolder)) as checkpoint:
        checkpoint.skip(dict([A, B]))
    assert remembered(workFolder) == ({}, 0, True, dict([A, B]), {})


def test_only_the_user_can_read_the_files(workFolder):
    Checkpoint(str(workFolder)).close()
    assert {path.name for path in workFolder.iterdir()} == {*STATE_NAMES, FILES_NAME, NUMBERS_NAME}
    if os.name == "posix":
        assert {path.stat().st_mode & 0o777 for path in workFolder.iterdir()} == {0o600}


def test_a_crash_while_a_file_is_read_counts_for_that_file(workFolder):
    for deaths in range(3):
        with Checkpoint(str(workFolder)) as checkpoint:
            assert checkpoint.begin(*A).deaths == deaths
    with Checkpoint(str(workFolder)) as checkpoint:
        assert checkpoint.begin(A[0], (11, 1)).deaths == 0  # overwritten: another file


def test_an_accepted_image_resets_the_crashes_of_a_file(workFolder):
    for accepted in range(4):
        with Checkpoint(str(workFolder)) as checkpoint:
            opened = checkpoint.begin(*A)
            assert (opened.accepted, opened.deaths) == (accepted, int(accepted > 0))
            checkpoint.accept("Live")
            assert opened.deaths == 0


def test_a_crash_does_not_count_for_a_closed_file(workFolder):
    with Checkpoint(str(workFolder)) as checkpoint:
        checkpoint.begin(*A)
        checkpoint.leave()
        checkpoint.begin(*B)
    with Checkpoint(str(workFolder)) as checkpoint:
        assert checkpoint.unfinished.keys() == {B[0]}
        assert checkpoint.begin(*A).deaths == 0
        assert checkpoint.begin(*B).deaths == 1


def test_accepted_images_of_a_file_are_known_after_other_files(workFolder):
    with Checkpoint(str(workFolder)) as checkpoint:
        checkpoint.begin(*A)
        checkpoint.accept("Live")
        checkpoint.accept("Live")
    with Checkpoint(str(workFolder)) as checkpoint:
        assert checkpoint.begin(*A).accepted == 2
        checkpoint.leave()  # it cannot be read now
        assert checkpoint.begin(*A).accepted == 2
        checkpoint.leave()
        checkpoint.begin(*B)
        checkpoint.accept("Live")
    with Checkpoint(str(workFolder)) as checkpoint:
        assert (checkpoint.begin(*A).accepted, checkpoint.begin(*A).deaths) == (2, 1)
        checkpoint.leave()
        assert (checkpoint.begin(*B).accepted, checkpoint.begin(*B).deaths) == (1, 1)
        checkpoint.finish(*A)
        checkpoint.finish(*B)
        assert checkpoint.unfinished == {}
    assert remembered(workFolder)[4] == {}


def test_an_incomplete_file_counts_as_rejected_until_it_is_completed(workFolder):
    with Checkpoint(str(workFolder)) as checkpoint:
        checkpoint.begin(*A)
        checkpoint.finish(*A, Verdict.INCOMPLETE)
        checkpoint.begin(*B)
        checkpoint.finish(*B, Verdict.REJECTED)
        assert checkpoint.rejected == 2
    with Checkpoint(str(workFolder)) as checkpoint:
        assert checkpoint.rejected == 2
        checkpoint.begin(A[0], (11, 5))
        checkpoint.finish(A[0], (11, 5), Verdict.INCOMPLETE)  # still incomplete: the same file
        assert checkpoint.rejected == 2
        checkpoint.begin(A[0], (12, 6))
        checkpoint.finish(A[0], (12, 6))
        assert checkpoint.rejected == 1
        checkpoint.begin(B[0], (21, 6))
        checkpoint.finish(B[0], (21, 6))  # the replaced file stays rejected
        assert checkpoint.rejected == 1
    assert remembered(workFolder) == ({}, 1, False, {A[0]: (12, 6), B[0]: (21, 6)}, {})


def test_accepted_images_of_an_incomplete_file_are_known(workFolder):
    with Checkpoint(str(workFolder)) as checkpoint:
        checkpoint.begin(*A)
        checkpoint.accept("Live")
        checkpoint.finish(*A, Verdict.INCOMPLETE)
        assert checkpoint.begin(*A).accepted == 1
        checkpoint.leave()
    with Checkpoint(str(workFolder)) as checkpoint:
        assert checkpoint.begin(*A).accepted == 1
        checkpoint.finish(*A)
        assert checkpoint.rejected == 0
    assert remembered(workFolder)[3:] == ({A[0]: A[1]}, {})


def test_names_that_are_not_utf8_are_stored(workFolder):
    name = os.fsdecode(b'/in/\xff\xe4\n".nii') if os.name == "posix" else 'C:\\in\\ä".nii'
    with Checkpoint(str(workFolder)) as checkpoint:
        checkpoint.begin(name, (1, 2))
        checkpoint.accept("Ünï \udcff")
    with Checkpoint(str(workFolder)) as checkpoint:
        assert checkpoint.begin(name, (1, 2)).accepted == 1
        checkpoint.finish(name, (1, 2))
    assert remembered(workFolder)[3] == {name: (1, 2)}


def test_many_streams_are_stored(workFolder):
    names = [f"{'long series name ' * 3}{number}" for number in range(300)]
    with Checkpoint(str(workFolder)) as checkpoint:
        for name in [*names, "x" * (1 << 20), *names]:
            checkpoint.accept(name)
        expected = memory(checkpoint)
    assert remembered(workFolder) == expected


def test_a_full_disk_delays_writing_only(workFolder):
    with Checkpoint(str(workFolder)) as checkpoint:
        checkpoint.accept("Live")
        with filesOfAtMost(600):
            for number in range(40):
                checkpoint.begin(f"/in/{number}.nii", (1, 1))
                assert checkpoint.accept(f"Stream {number % 20}") == number // 20
                checkpoint.finish(f"/in/{number}.nii", (1, 1))
            assert checkpoint.problem == "disk full"
            assert len(remembered(workFolder)[3]) < 40
        checkpoint._retryAt = 0.0
        checkpoint.accept("Live")
        assert checkpoint.problem == ""
        expected = memory(checkpoint)
    assert remembered(workFolder) == expected


def test_a_frame_writes_the_same_number_of_bytes_with_many_streams(workFolder):
    with Checkpoint(str(workFolder)) as checkpoint:
        for number in range(2000):
            checkpoint.accept(f"Stream {number}")
        before = {path.name: path.read_bytes() for path in workFolder.iterdir()}
        checkpoint.accept("Stream 7")
    after = {path.name: path.read_bytes() for path in workFolder.iterdir()}
    changed = [sum(a != b for a, b in zip(before[name], after[name], strict=True)) for name in before]
    assert sum(changed) < 300
    assert sum(len(after[name]) for name in STATE_NAMES) < 1000


def test_removed_files_are_forgotten_and_their_counts_stay(workFolder):
    with Checkpoint(str(workFolder)) as checkpoint:
        for number in range(SPARE_LINES):
            path, verdict = f"/in/{number}.nii", list(Verdict)[number % 3]
            checkpoint.begin(path, (1, 1))
            if number == 8:
                checkpoint.accept("Live")
            checkpoint.finish(path, (1, 1), verdict)
        assert checkpoint.unfinished.keys() == {"/in/8.nii"}
        (workFolder / f"{FILES_NAME}~").write_bytes(b"of a process that died meanwhile")
        rejected, size = checkpoint.rejected, (workFolder / FILES_NAME).stat().st_size
        checkpoint.forget([f"/in/{number}.nii" for number in range(SPARE_LINES - 5)])
        assert checkpoint.done.keys() == {f"/in/{number}.nii" for number in range(SPARE_LINES - 5, SPARE_LINES)}
        assert checkpoint.rejected == rejected == 2 * SPARE_LINES // 3
        assert checkpoint.unfinished == {}
        if os.name == "posix":  # Windows replaces no open file
            assert (workFolder / FILES_NAME).stat().st_size < size / 50
            with filesOfAtMost((workFolder / FILES_NAME).stat().st_size + 5):
                checkpoint.finish(*B)
            assert checkpoint.problem == "disk full"
            checkpoint._retryAt = 0.0
        checkpoint.begin(*A)
        checkpoint.finish(*A)
        expected = memory(checkpoint)
    assert remembered(workFolder) == expected


def test_lines_are_written_anew_after_a_restart_but_not_while_some_wait(workFolder):
    with Checkpoint(str(workFolder)) as checkpoint:
        checkpoint.skip(dict.fromkeys(map(str, range(SPARE_LINES)), (1, 1)))
        size = (workFolder / FILES_NAME).stat().st_size
    with Checkpoint(str(workFolder)) as checkpoint:
        with filesOfAtMost(size + 5):
            checkpoint.finish(*A, Verdict.REJECTED)
            checkpoint.forget([str(number) for number in range(SPARE_LINES)])
            assert checkpoint.problem == "disk full"
        checkpoint._retryAt = 0.0
        checkpoint.finish(*B)
        expected = memory(checkpoint)
        assert checkpoint.rejected == 1
    assert remembered(workFolder) == expected
    with Checkpoint(str(workFolder)) as checkpoint:
        checkpoint.forget([B[0]])
        if os.name == "posix":
            assert (workFolder / FILES_NAME).stat().st_size < 100


# ---- files after a kill

STREAMS = ["Live", "T1", "a longer name of a stream"]
PATHS = ["/in/a.nii", "/in/ä.nii", "/in/sub/" + "c" * 40]
steps = st.one_of(
    st.tuples(st.just("begin"), st.sampled_from(PATHS), st.integers(1, 2)),
    st.tuples(st.just("leave"), st.none(), st.none()),
    st.tuples(st.just("accept"), st.sampled_from(STREAMS), st.none()),
    st.tuples(st.just("finish"), st.sampled_from(list(Verdict)), st.none()),
    st.tuples(st.just("skip"), st.lists(st.sampled_from(PATHS), unique=True), st.integers(1, 2)),
    st.tuples(st.just("forget"), st.lists(st.sampled_from(PATHS), unique=True), st.none()),
)


def play(checkpoint, steps):
    """Perform the steps that are possible in this order; yield the open file after each."""
    opened = None
    for kind, what, size in steps:
        if kind == "begin":
            if opened:
                checkpoint.leave()
            opened = what, (size, size)
            checkpoint.begin(*opened)
        elif kind == "leave":
            checkpoint.leave()
            opened = None
        elif kind == "accept":
            checkpoint.accept(what)
        elif kind == "finish" and opened:
            checkpoint.finish(*opened, what)
            opened = None
        elif kind == "skip":
            checkpoint.skip(dict.fromkeys(what, (size, size)))
        elif kind == "forget" and not opened:
            checkpoint.forget(what)
        else:
            continue
        yield opened


def afterKill(checkpoint, opened):
    """The state that the next process must find: the open file has one more crash."""
    numbers, rejected, listed, done, unfinished = memory(checkpoint)
    if opened:
        path, stamp = opened
        before = unfinished[path]
        unfinished = {**unfinished, path: (stamp, before[1], before[2] + 1)}
    left = {}
    for path, (stamp, accepted, deaths) in unfinished.items():
        if done.get(path) != stamp and (accepted or deaths):
            left[path] = (stamp, accepted, deaths)
        elif path in checkpoint.incomplete and accepted:
            left[path] = (stamp, accepted, 0)
    return numbers, rejected, listed, done, left


@examples(0.75)
@given(st.lists(steps, max_size=25))
def test_a_killed_process_loses_nothing(steps):
    with TemporaryDirectory() as folder, Checkpoint(folder) as checkpoint:
        expected = memory(checkpoint)
        for number, opened in enumerate(play(checkpoint, steps)):
            expected = afterKill(checkpoint, opened)
            copied = os.path.join(folder, f"copy{number}")
            os.mkdir(copied)
            for name in (*STATE_NAMES, FILES_NAME, NUMBERS_NAME):
                shutil.copy(os.path.join(folder, name), copied)
            assert remembered(copied) == expected


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@examples(0.75)
@given(st.lists(steps, max_size=10), st.sampled_from(["begin", "leave", "accept", *Verdict]), st.data())
def test_a_write_that_a_kill_divides_counts_or_does_not(steps, last, data):
    """A kill divides one write at any byte: the next process finds the state before or after the write."""
    with TemporaryDirectory() as folder, Checkpoint(folder) as checkpoint:
        opened = list(play(checkpoint, [*steps, ("begin", PATHS[0], 9)]))[-1]
        before, known = files(folder), afterKill(checkpoint, opened)
        if last == "begin":
            opened = PATHS[1], (8, 8)
            checkpoint.leave()
            before, known = files(folder), afterKill(checkpoint, None)
            checkpoint.begin(*opened)
        elif last == "leave":
            opened = checkpoint.leave()
        elif last == "accept":
            checkpoint.accept("Live")
        else:
            opened = checkpoint.finish(*opened, last)
        after, allowed = files(folder), [known, afterKill(checkpoint, opened)]
    # Order of the writes: the line, one of the two states, the number.
    written = [name for name in (FILES_NAME, *STATE_NAMES, NUMBERS_NAME) if before[name] != after[name]]
    assert len(written) == 1 + (last in [*Verdict, "accept"])
    cut = data.draw(st.sampled_from(written))
    for name in written[: written.index(cut)]:
        before[name] = after[name]
    kept = len(before[cut]) if cut == FILES_NAME else 0
    size = data.draw(st.integers(kept, len(after[cut])))
    # A kill makes no file shorter; but a shortened state is also detected.
    truncated = data.draw(st.booleans()) and cut != NUMBERS_NAME
    before[cut] = after[cut][:size] + (b"" if truncated else before[cut][size:])
    with TemporaryDirectory() as folder:
        for name, content in before.items():
            Path(folder, name).write_bytes(content)
        assert remembered(folder) in allowed


def test_a_listing_that_a_kill_divides_is_repeated(workFolder):
    with Checkpoint(str(workFolder)) as checkpoint:
        checkpoint.accept("Live")
        before = (workFolder / STATE_NAMES[0]).read_bytes()
        checkpoint.skip(dict([A, B]))
        assert (workFolder / STATE_NAMES[0]).read_bytes() != before
    lines = (workFolder / FILES_NAME).read_bytes()
    assert remembered(workFolder)[2] is True
    (workFolder / STATE_NAMES[0]).write_bytes(before)
    for size in range(len(lines) + 1):
        (workFolder / FILES_NAME).write_bytes(lines[:size])
        numbers, _, listed, done, _ = remembered(workFolder)
        assert (numbers, listed) == ({"Live": 1}, False)
        assert done.items() <= dict([A, B]).items()


@examples(0.75)
@given(st.lists(steps, min_size=2, max_size=12), st.data())
def test_a_divided_line_does_not_damage_the_next_lines(steps, data):
    with TemporaryDirectory() as folder:
        with Checkpoint(folder) as checkpoint:
            for _ in play(checkpoint, steps):
                pass
        path = Path(folder, FILES_NAME)
        whole = path.read_bytes()
        size = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:size])
        lines = whole[:size].count(b"\n")
        with Checkpoint(folder) as checkpoint:
            before = dict(checkpoint.done)
            assert len(before) <= lines
            checkpoint.begin("/in/next.nii", (5, 5))
            checkpoint.finish("/in/next.nii", (5, 5), Verdict.REJECTED)
        with Checkpoint(folder) as checkpoint:
            assert checkpoint.done == {**before, "/in/next.nii": (5, 5)}
        assert path.read_bytes().count(b"\n") == lines + 1


@pytest.mark.parametrize("name", STATE_NAMES)
def test_one_of_the_two_states_is_enough(workFolder, name):
    with Checkpoint(str(workFolder)) as checkpoint:
        for _ in range(5):
            checkpoint.accept("Live")
    whole = (workFolder / name).read_bytes()
    for size in range(len(whole)):
        (workFolder / name).write_bytes(whole[:size])
        assert remembered(workFolder)[0] in ({"Live": 4}, {"Live": 5})
    for place in range(len(whole)):
        (workFolder / name).write_bytes(whole[:place] + b"?" + whole[place + 1 :])
        assert remembered(workFolder)[0] in ({"Live": 4}, {"Live": 5})


def test_a_number_missing_after_a_kill_is_written_at_the_next_start(workFolder):
    with Checkpoint(str(workFolder)) as checkpoint:
        checkpoint.accept("A")
        before = (workFolder / NUMBERS_NAME).read_bytes()
        checkpoint.accept("A")
    (workFolder / NUMBERS_NAME).write_bytes(before)  # the process died between its two writes
    with Checkpoint(str(workFolder)) as checkpoint:
        assert [checkpoint.accept("B"), checkpoint.accept("B"), checkpoint.accept("B")] == [0, 1, 2]
    with Checkpoint(str(workFolder)) as checkpoint:
        assert (checkpoint.next("A"), checkpoint.next("B")) == (2, 3)
