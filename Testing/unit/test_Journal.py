import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from RealTimeImagingLib.Sources.Checkpoint import FILES_NAME, NUMBERS_NAME, STATE_NAMES, Journal, Verdict
from unit.recordings import filesOfAtMost

some = settings(max_examples=25, deadline=None)
A, B = ("/in/a.nii", (10, 1)), ("/in/b.nii", (20, 2))


def memory(journal):
    """All that a journal tells, in a form that can be compared."""
    return (
        dict(journal.numbers),
        journal.rejected,
        journal.listed,
        dict(journal.done),
        {path: (file.stamp, file.accepted, file.deaths) for path, file in journal.unfinished.items()},
    )


def remembered(folder):
    with Journal(str(folder)) as journal:
        return memory(journal)


def test_a_new_journal_knows_nothing(workFolder):
    assert remembered(workFolder) == ({}, 0, False, {}, {})


def test_frames_are_numbered_without_gaps_in_each_stream(workFolder):
    with Journal(str(workFolder)) as journal:
        assert [journal.accept("T1") for _ in range(3)] == [0, 1, 2]
        assert journal.accept("T2") == 0
    with Journal(str(workFolder)) as journal:
        assert journal.accept("T1") == 3
        assert journal.accept("T2") == 1


def test_files_that_were_there_at_start_are_known_after_a_restart(workFolder):
    with Journal(str(workFolder)) as journal:
        journal.passOver(dict([A, B]))
    assert remembered(workFolder) == ({}, 0, True, dict([A, B]), {})


def test_only_users_own_files(workFolder):
    Journal(str(workFolder)).close()
    assert {path.name for path in workFolder.iterdir()} == {*STATE_NAMES, FILES_NAME, NUMBERS_NAME}
    if os.name == "posix":
        assert {path.stat().st_mode & 0o777 for path in workFolder.iterdir()} == {0o600}


def test_a_death_while_reading_is_counted_for_that_file(workFolder):
    for deaths in range(3):
        with Journal(str(workFolder)) as journal:
            assert journal.begin(*A).deaths == deaths
    with Journal(str(workFolder)) as journal:
        assert journal.begin(A[0], (11, 1)).deaths == 0  # overwritten: another file


def test_a_death_after_another_image_is_not_the_files_second(workFolder):
    for accepted in range(4):
        with Journal(str(workFolder)) as journal:
            opened = journal.begin(*A)
            assert (opened.accepted, opened.deaths) == (accepted, int(accepted > 0))
            journal.accept("Live")
            assert opened.deaths == 0


def test_a_file_that_was_put_aside_is_not_to_blame(workFolder):
    with Journal(str(workFolder)) as journal:
        journal.begin(*A)
        journal.leave()
        journal.begin(*B)
    with Journal(str(workFolder)) as journal:
        assert journal.unfinished.keys() == {B[0]}
        assert journal.begin(*A).deaths == 0
        assert journal.begin(*B).deaths == 1


def test_images_of_a_half_read_file_are_remembered_whatever_is_read_in_between(workFolder):
    with Journal(str(workFolder)) as journal:
        journal.begin(*A)
        journal.accept("Live")
        journal.accept("Live")
    with Journal(str(workFolder)) as journal:
        assert journal.begin(*A).accepted == 2
        journal.leave()  # for now it cannot be read
        assert journal.begin(*A).accepted == 2
        journal.leave()
        journal.begin(*B)
        journal.accept("Live")
    with Journal(str(workFolder)) as journal:
        assert (journal.begin(*A).accepted, journal.begin(*A).deaths) == (2, 1)
        journal.leave()
        assert (journal.begin(*B).accepted, journal.begin(*B).deaths) == (1, 1)
        journal.finish(*A)
        journal.finish(*B)
        assert journal.unfinished == {}
    assert remembered(workFolder)[4] == {}


def test_an_incomplete_file_counts_as_rejected_until_it_is_completed(workFolder):
    with Journal(str(workFolder)) as journal:
        journal.begin(*A)
        journal.finish(*A, Verdict.INCOMPLETE)
        journal.begin(*B)
        journal.finish(*B, Verdict.REJECTED)
        assert journal.rejected == 2
    with Journal(str(workFolder)) as journal:
        assert journal.rejected == 2
        journal.begin(A[0], (11, 5))
        journal.finish(A[0], (11, 5), Verdict.INCOMPLETE)  # still not whole: the same file
        assert journal.rejected == 2
        journal.begin(A[0], (12, 6))
        journal.finish(A[0], (12, 6))
        assert journal.rejected == 1
        journal.begin(B[0], (21, 6))
        journal.finish(B[0], (21, 6))  # the one that it replaced stays rejected
        assert journal.rejected == 1
    assert remembered(workFolder) == ({}, 1, False, {A[0]: (12, 6), B[0]: (21, 6)}, {})


def test_images_of_a_file_that_is_not_complete_are_remembered(workFolder):
    with Journal(str(workFolder)) as journal:
        journal.begin(*A)
        journal.accept("Live")
        journal.finish(*A, Verdict.INCOMPLETE)
        assert journal.begin(*A).accepted == 1
        journal.leave()
    with Journal(str(workFolder)) as journal:
        assert journal.begin(*A).accepted == 1
        journal.finish(*A)
        assert journal.rejected == 0
    assert remembered(workFolder)[3:] == ({A[0]: A[1]}, {})


def test_names_that_are_no_text_are_kept(workFolder):
    name = os.fsdecode(b'/in/\xff\xe4\n".nii') if os.name == "posix" else 'C:\\in\\ä".nii'
    with Journal(str(workFolder)) as journal:
        journal.begin(name, (1, 2))
        journal.accept("Ünï \udcff")
    with Journal(str(workFolder)) as journal:
        assert journal.begin(name, (1, 2)).accepted == 1
        journal.finish(name, (1, 2))
    assert remembered(workFolder)[3] == {name: (1, 2)}


def test_many_streams_are_no_trouble(workFolder):
    names = [f"{'long series name ' * 3}{number}" for number in range(300)]
    with Journal(str(workFolder)) as journal:
        for name in [*names, "x" * (1 << 20), *names]:
            journal.accept(name)
        expected = memory(journal)
    assert remembered(workFolder) == expected


def test_a_full_disk_stops_nothing_and_all_is_written_when_there_is_room(workFolder):
    with Journal(str(workFolder)) as journal:
        journal.accept("Live")
        with filesOfAtMost(600):
            for number in range(40):
                journal.begin(f"/in/{number}.nii", (1, 1))
                assert journal.accept(f"Stream {number % 20}") == number // 20
                journal.finish(f"/in/{number}.nii", (1, 1))
            assert journal.problem == "No space left on device"
            assert len(remembered(workFolder)[3]) < 40
        journal._again = 0.0
        journal.accept("Live")
        assert journal.problem == ""
        expected = memory(journal)
    assert remembered(workFolder) == expected


def test_a_frame_costs_the_same_with_many_streams(workFolder):
    with Journal(str(workFolder)) as journal:
        for number in range(2000):
            journal.accept(f"Stream {number}")
        before = {path.name: path.read_bytes() for path in workFolder.iterdir()}
        journal.accept("Stream 7")
    after = {path.name: path.read_bytes() for path in workFolder.iterdir()}
    changed = [sum(a != b for a, b in zip(before[name], after[name], strict=True)) for name in before]
    assert sum(changed) < 300
    assert sum(len(after[name]) for name in STATE_NAMES) < 1000


# ---- what a death can leave of the files

STREAMS = ["Live", "T1", "a longer name of a stream"]
PATHS = ["/in/a.nii", "/in/ä.nii", "/in/sub/" + "c" * 40]
steps = st.one_of(
    st.tuples(st.just("begin"), st.sampled_from(PATHS), st.integers(1, 2)),
    st.tuples(st.just("leave"), st.none(), st.none()),
    st.tuples(st.just("accept"), st.sampled_from(STREAMS), st.none()),
    st.tuples(st.just("finish"), st.sampled_from(list(Verdict)), st.none()),
    st.tuples(st.just("passOver"), st.lists(st.sampled_from(PATHS), unique=True), st.integers(1, 2)),
)


def play(journal, steps):
    """Do what a source does, in an order in which it can do it; after each step what was done."""
    opened = None
    for kind, what, size in steps:
        if kind == "begin":
            if opened:
                journal.leave()
            opened = what, (size, size)
            journal.begin(*opened)
        elif kind == "leave":
            journal.leave()
            opened = None
        elif kind == "accept":
            journal.accept(what)
        elif kind == "finish" and opened:
            journal.finish(*opened, what)
            opened = None
        elif kind == "passOver":
            journal.passOver(dict.fromkeys(what, (size, size)))
        else:
            continue
        yield opened


def afterDeath(journal, opened):
    """What the next process must find of what was known: the file that was being read has one more death."""
    numbers, rejected, listed, done, unfinished = memory(journal)
    if opened:
        path, stamp = opened
        before = unfinished[path]
        unfinished = {**unfinished, path: (stamp, before[1], before[2] + 1)}
    left = {}
    for path, (stamp, accepted, deaths) in unfinished.items():
        if done.get(path) != stamp and (accepted or deaths):
            left[path] = (stamp, accepted, deaths)
        elif path in journal.incomplete and accepted:
            left[path] = (stamp, accepted, 0)
    return numbers, rejected, listed, done, left


@some
@given(st.lists(steps, max_size=25))
def test_a_killed_process_loses_nothing(steps):
    with TemporaryDirectory() as folder, Journal(folder) as journal:
        expected = memory(journal)
        for number, opened in enumerate(play(journal, steps)):
            expected = afterDeath(journal, opened)
            copied = os.path.join(folder, f"copy{number}")
            os.mkdir(copied)
            for name in (*STATE_NAMES, FILES_NAME, NUMBERS_NAME):
                shutil.copy(os.path.join(folder, name), copied)
            assert remembered(copied) == expected


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@some
@given(st.lists(steps, max_size=10), st.sampled_from(["begin", "leave", "accept", *Verdict]), st.data())
def test_a_write_that_a_death_cuts_has_happened_or_has_not(steps, last, data):
    """Whichever write is cut at whichever byte, the next process finds what was known before or after it."""
    with TemporaryDirectory() as folder, Journal(folder) as journal:
        opened = list(play(journal, [*steps, ("begin", PATHS[0], 9)]))[-1]
        before, known = files(folder), afterDeath(journal, opened)
        if last == "begin":
            opened = PATHS[1], (8, 8)
            journal.leave()
            before, known = files(folder), afterDeath(journal, None)
            journal.begin(*opened)
        elif last == "leave":
            opened = journal.leave()
        elif last == "accept":
            journal.accept("Live")
        else:
            opened = journal.finish(*opened, last)
        after, allowed = files(folder), [known, afterDeath(journal, opened)]
    # The line is appended first, then one of the two states is overwritten in place, at last the number.
    written = [name for name in (FILES_NAME, *STATE_NAMES, NUMBERS_NAME) if before[name] != after[name]]
    assert len(written) == 1 + (last in [*Verdict, "accept"])
    cut = data.draw(st.sampled_from(written))
    for name in written[: written.index(cut)]:
        before[name] = after[name]
    kept = len(before[cut]) if cut == FILES_NAME else 0
    size = data.draw(st.integers(kept, len(after[cut])))
    # A kill makes no file shorter; a state that is cut is found out all the same.
    truncated = data.draw(st.booleans()) and cut != NUMBERS_NAME
    before[cut] = after[cut][:size] + (b"" if truncated else before[cut][size:])
    with TemporaryDirectory() as folder:
        for name, content in before.items():
            Path(folder, name).write_bytes(content)
        assert remembered(folder) in allowed


def test_a_listing_that_a_death_cuts_is_made_again(workFolder):
    with Journal(str(workFolder)) as journal:
        journal.accept("Live")
        before = (workFolder / STATE_NAMES[0]).read_bytes()
        journal.passOver(dict([A, B]))
        assert (workFolder / STATE_NAMES[0]).read_bytes() != before
    lines = (workFolder / FILES_NAME).read_bytes()
    assert remembered(workFolder)[2] is True
    (workFolder / STATE_NAMES[0]).write_bytes(before)
    for size in range(len(lines) + 1):
        (workFolder / FILES_NAME).write_bytes(lines[:size])
        numbers, _, listed, done, _ = remembered(workFolder)
        assert (numbers, listed) == ({"Live": 1}, False)
        assert done.items() <= dict([A, B]).items()


@some
@given(st.lists(steps, min_size=2, max_size=12), st.data())
def test_lines_that_are_cut_spoil_none_that_follow(steps, data):
    with TemporaryDirectory() as folder:
        with Journal(folder) as journal:
            for _ in play(journal, steps):
                pass
        path = Path(folder, FILES_NAME)
        whole = path.read_bytes()
        size = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:size])
        lines = whole[:size].count(b"\n")
        with Journal(folder) as journal:
            before = dict(journal.done)
            assert len(before) <= lines
            journal.begin("/in/next.nii", (5, 5))
            journal.finish("/in/next.nii", (5, 5), Verdict.REJECTED)
        with Journal(folder) as journal:
            assert journal.done == {**before, "/in/next.nii": (5, 5)}
        assert path.read_bytes().count(b"\n") == lines + 1


@pytest.mark.parametrize("name", STATE_NAMES)
def test_either_state_alone_is_enough_to_go_on(workFolder, name):
    with Journal(str(workFolder)) as journal:
        for _ in range(5):
            journal.accept("Live")
    whole = (workFolder / name).read_bytes()
    for size in range(len(whole)):
        (workFolder / name).write_bytes(whole[:size])
        assert remembered(workFolder)[0] in ({"Live": 4}, {"Live": 5})
    for place in range(len(whole)):
        (workFolder / name).write_bytes(whole[:place] + b"?" + whole[place + 1 :])
        assert remembered(workFolder)[0] in ({"Live": 4}, {"Live": 5})


def test_a_number_that_a_kill_kept_out_of_its_file_is_kept_from_then_on(workFolder):
    with Journal(str(workFolder)) as journal:
        journal.accept("A")
        before = (workFolder / NUMBERS_NAME).read_bytes()
        journal.accept("A")
    (workFolder / NUMBERS_NAME).write_bytes(before)  # the process died between its two writes
    with Journal(str(workFolder)) as journal:
        assert [journal.accept("B"), journal.accept("B"), journal.accept("B")] == [0, 1, 2]
    with Journal(str(workFolder)) as journal:
        assert (journal.next("A"), journal.next("B")) == (2, 3)
