import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Formats import stampOf
from RealTimeImagingLib.Model.Files import naturalOrder
from RealTimeImagingLib.Sources.Folder import Listing
from RealTimeImagingLib.Sources.Folder.Listing import (
    ACTIVE,
    FASTEST,
    IDLE,
    MOST_CHECKED,
    ROUND,
    SHARE,
    SLOWEST,
    FolderPoller,
    isAnother,
    isBroken,
    listFiles,
    matcher,
    seriesOf,
    versionOf,
)
from unit.conftest import Clock


def everything(name):
    return True


def polled(folder, wanted, subfolders=False, done=None):
    """The files that one complete poll finds."""
    return FolderPoller(str(folder), subfolders, wanted, Clock()).poll(done or {}, math.inf)


def natural(names):
    return sorted(names, key=naturalOrder)


def linked(link, target):
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("no links here")


# ---- natural order


@pytest.mark.parametrize(
    "names",
    [
        ["image1.nii", "image2.nii", "image9.nii", "image10.nii", "image100.nii"],
        ["a.nii", "1.nii", "2.nii", "10.nii"],  # letters come before digits
        ["s1_f2", "s1_f10", "s2_f1", "s10_f1"],
        ["a1b2", "a1b10", "a02b1"],
        ["IMG2.nii", "img3.nii", "IMG10.nii"],
        ["a2", "B1", "b2", "C1"],
        ["x 9999999999999999999998", "x 9999999999999999999999"],
        ["é1", "é2", "é10"],
    ],
)
def test_numbers_are_ordered_as_numbers(names):
    assert natural(names[::-1]) == names
    assert natural([names[-1], *names[:-1]]) == names


def test_folders_are_listed_one_after_the_other():
    paths = [
        os.path.join("in", *parts) for parts in (("run2", "b9"), ("run2", "b10"), ("run10", "a1"), ("run10", "b1"))
    ]
    assert natural(paths[::-1]) == paths


@given(
    st.text("ab", max_size=3),
    st.lists(st.integers(0, 10**9), min_size=2, max_size=8, unique=True),
    st.text("x.", max_size=3),
)
def test_names_that_differ_in_a_number_are_ordered_by_it(start, numbers, end):
    names = [f"{start}{number}{end}" for number in numbers]
    assert natural(names) == [f"{start}{number}{end}" for number in sorted(numbers)]


any_name = st.text("aA01.٣ß²", max_size=4) | st.text(max_size=12)


@given(any_name, any_name)
def test_two_different_names_have_an_order(one, other):
    assert (naturalOrder(one) == naturalOrder(other)) is (one == other)
    assert (naturalOrder(one) < naturalOrder(other)) or (naturalOrder(other) < naturalOrder(one)) or one == other


@given(st.lists(any_name, max_size=8, unique=True), st.randoms())
def test_the_order_does_not_depend_on_the_listing(names, random):
    shuffled = random.sample(names, len(names))
    assert natural(shuffled) == natural(names)


# ---- patterns


@pytest.mark.parametrize(
    ("pattern", "fits", "others"),
    [
        ("*", ["a.nii", "IM_0001", "x"], []),
        ("*.nii*", ["a.nii", "A.NII.GZ", "b.nii.gz"], ["a.nrrd", "nii"]),
        ("*.NII", ["a.nii"], ["a.nii.gz"]),
        (" *.nii ; *.mha;", ["a.nii", "b.mha"], ["c.nrrd", ";", ""]),
        ("scan?.nii", ["scan1.nii", "SCANa.nii"], ["scan.nii", "scan12.nii"]),
        ("scan[1]*.nii", ["scan[1].nii", "scan[1]_0002.nii"], ["scan1.nii", "scan[2].nii"]),
        ("[!a].nii", ["[!a].nii"], ["b.nii"]),
        ("a+b(1).nii", ["a+b(1).nii"], ["aab1.nii"]),
        ("a.nii", ["a.nii"], ["axnii", "a.nii2", "ba.nii"]),
        ("é*.nii", ["É1.nii"], ["e1.nii"]),
        ("*.nii, *.nii.gz", ["a.nii", "b.nii.gz"], ["c.mha", ",", ""]),
        ("*.nii,*.mha;*.png,", ["a.nii", "b.mha", "c.png"], ["d.jpg", ""]),
        ("scan,1.nii", ["scan,1.nii"], ["scan2.nii"]),  # a comma may be part of a name
        ("Pr\u00fcf*", ["Pru\u0308f1.nii", "PR\u00dcF2.nii"], ["Pruf3.nii"]),  # composed and decomposed letters
        ("Pru\u0308f*", ["Pr\u00fcf1.nii", "Pru\u0308f2.nii"], ["Pruf3.nii"]),
    ],
)
def test_file_names_fit_a_pattern_of_stars_and_question_marks(pattern, fits, others):
    matches = matcher(pattern)
    assert [name for name in fits + others if matches(name)] == fits


plain = st.text("aB[]!-.+ß1 ", min_size=1, max_size=6).filter(str.strip).map(str.strip)


@given(plain, plain, plain)
def test_other_characters_match_themselves(one, other, rest):
    assert matcher(one)(one)
    assert matcher(one)(one.upper())
    assert matcher(f"{one}*{other}")(one + rest + other)
    assert matcher(f"{one}*{other}")(one + other)
    assert matcher(one)(other) is (one.casefold() == other.casefold())
    assert matcher(f"{one};{other}")(other)
    assert not matcher(f"{one}?{other}")(one + other) or len((one + other).casefold()) != len(one + other)


@pytest.mark.parametrize(
    ("pattern", "name", "series"),
    [
        ("*_{series}_*", "mouse7_T1_0001.nii", "T1"),
        ("*_{series}_*", "mouse7_T1_0001_b.nii", "T1"),
        ("{series}-*.nii", "bold-1-2.nii", "bold"),
        ("*-{series}.nii", "a-b-c.nii", "b-c"),
        ("{series}.nii", "T2 flair.nii", "T2 flair"),
        ("RUN_{series}.nii", "run_DWI.NII", "DWI"),
        ("s?_{series}.nii", "s4_a.nii", "a"),
        ("a[1]+{series}.nii", "a[1]+x.nii", "x"),
        ("Pr\u00fcf_{series}.nii", "Pru\u0308f_a.nii", "a"),
        ("*_{series}_*", "mouse7_T1.nii", None),
        ("*_{series}_*", "__.nii", None),
        ("{series}_*", "  _1.nii", None),
        ("{series}.nii", "a.mha", None),
        ("", "mouse7_T1_0001.nii", None),
    ],
)
def test_the_series_is_a_part_of_the_name(pattern, name, series):
    assert seriesOf(pattern)(name) == series


@given(
    st.text("aB1.[(+", min_size=1, max_size=4),
    st.text("tT2.[*?é", min_size=1, max_size=4),
    st.text("cC3)$^", min_size=1, max_size=4),
)
def test_a_series_between_underscores_is_found(before, series, after):
    find = seriesOf("*_{series}_*")
    assert find(f"{before}_{series}_{after}") == series
    assert find(f"{before}_{series}{after}") is None


# ---- listing


def test_files_have_size_and_time(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"12345")
    os.utime(tmp_path / "a.nii", ns=(0, 1234567890123456700))
    version = versionOf(str(tmp_path / "a.nii"))
    assert version[:2] == (5, 1234567890123456700)
    assert polled(tmp_path, everything) == {str(tmp_path / "a.nii"): version}
    assert stampOf(str(tmp_path / "a.nii")) == (5, 1234567890123456700)
    assert stampOf(str(tmp_path / "b.nii")) is None


@pytest.fixture
def tree(tmp_path):
    """Files in folders, one of them hidden and one named like an image."""
    for name in ("a.nii", "b.txt", "sub/c.nii", "sub/deep/d.nii", "e.nii/f.nii", ".hidden/g.nii", "sub/.hid/h.nii"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def names(folder, found):
    return sorted(os.path.relpath(path, folder).replace(os.sep, "/") for path in found)


def isImage(name):
    return name.endswith(".nii") and not name.startswith(".")


def test_only_wanted_files_of_the_folder_itself(tree):
    assert names(tree, polled(tree, isImage)) == ["a.nii"]


def test_files_of_subfolders_of_any_depth(tree):
    found = polled(tree, isImage, True)
    assert names(tree, found) == ["a.nii", "e.nii/f.nii", "sub/c.nii", "sub/deep/d.nii"]


def test_links_to_files_are_followed_and_links_to_folders_are_not(tree):
    linked(tree / "linked.nii", tree / "sub" / "c.nii")
    linked(tree / "circle", tree)
    linked(tree / "circle.nii", tree)
    assert names(tree, polled(tree, isImage, True)) == [
        "a.nii",
        "e.nii/f.nii",
        "linked.nii",
        "sub/c.nii",
        "sub/deep/d.nii",
    ]


def test_broken_links_are_listed_as_such(tree):
    linked(tree / "loop.nii", tree / "loop.nii")
    linked(tree / "broken.nii", tree / "never made")
    linked(tree / "sub" / "loop", tree / "sub" / "loop")
    for subfolders in (False, True):
        found = polled(tree, isImage, subfolders)
        broken = names(tree, [path for path, version in found.items() if isBroken(version)])
        assert broken == ["broken.nii", "loop.nii"]
        assert "a.nii" in names(tree, found)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(OSError, match="missing"):
        list(listFiles(str(tmp_path / "missing"), True, everything))


def test_a_subfolder_removed_during_the_listing_is_skipped(tree):
    """The folders are listed one by one; one of them is removed meanwhile."""
    found = listFiles(str(tree), True, isImage)
    first, _entry = next(found)
    assert os.path.basename(first) == "a.nii"
    for folder in ("sub/deep", "sub"):
        for file in (tree / folder).iterdir():
            if file.is_file():
                file.unlink()
    for folder in ("sub/deep", "sub/.hid", "sub"):
        path = tree / folder
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    assert names(tree, (path for path, _entry in found)) == ["e.nii/f.nii"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_listed_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii")
    (tmp_path / "a.nii").touch()
    assert str(tmp_path / "a.nii") in polled(tmp_path, isImage)


# ---- polling


@pytest.fixture
def fifty(tmp_path):
    """Paths of fifty files in one folder."""
    for number in range(50):
        (tmp_path / f"{number}.nii").write_bytes(bytes(number))
    return {str(tmp_path / f"{number}.nii") for number in range(50)}


def test_a_poll_in_pieces_finds_every_file_once(tmp_path, fifty):
    clock = Clock(0.01)
    poller = FolderPoller(str(tmp_path), False, everything, clock)
    found = []
    pieces = 0
    while poller.isDue():
        assert poller.begins is (pieces == 0)
        found += poller.poll({}, clock.now + 0.1)
        pieces += 1
    assert 3 < pieces < 20
    assert sorted(found) == sorted(fifty)


def test_some_known_files_are_checked_in_turn(tmp_path, fifty, monkeypatch):
    monkeypatch.setattr(Listing, "LEAST_CHECKED", 20)
    poller = FolderPoller(str(tmp_path), False, everything, Clock())
    done = {path: versionOf(path) for path in fifty}
    (tmp_path / "new.nii").touch()
    turns = []
    for _ in range(3):
        found = poller.poll(done, math.inf)
        assert str(tmp_path / "new.nii") in found  # new files are always checked
        turns.append(found.keys() - {str(tmp_path / "new.nii")})
    assert [len(turn) for turn in turns] == [20, 20, 10]
    assert set().union(*turns) == fifty
    assert poller.poll(done, math.inf).keys() - {str(tmp_path / "new.nii")} == turns[0]


def test_all_known_files_are_checked_within_a_round(tmp_path, fifty, monkeypatch):
    monkeypatch.setattr(Listing, "LEAST_CHECKED", 1)
    clock = Clock()
    poller = FolderPoller(str(tmp_path), False, everything, clock)
    done = {path: versionOf(path) for path in fifty}
    poller.poll(done, math.inf)
    for interval, count in ((0.099 * ROUND, 5), (0.499 * ROUND, 25), (ROUND, 50), (10.0, 50)):
        clock.now += interval
        poller._checkFrom = 0
        assert len(poller.poll(done, math.inf)) == count
    monkeypatch.setattr(Listing, "MOST_CHECKED", 20)
    clock.now += 1.0
    poller._checkFrom = 0
    assert len(poller.poll(done, math.inf)) == 20
    assert MOST_CHECKED * ROUND >= 20_000


@pytest.mark.skipif(os.name == "nt", reason="the listing has no file numbers there")
def test_a_replaced_file_is_checked_at_once(tmp_path, fifty, monkeypatch):
    monkeypatch.setattr(Listing, "LEAST_CHECKED", 1)
    poller = FolderPoller(str(tmp_path), False, everything, Clock())
    done = {path: versionOf(path) for path in fifty}
    poller.poll(done, math.inf)
    for name in ("7.nii", "31.nii"):
        (tmp_path / "part").write_bytes(bytes(7))
        os.replace(tmp_path / "part", tmp_path / name)
    poller._checkFrom = len(fifty)
    found = poller.poll(done, math.inf).keys() - {sorted(fifty)[0]}
    assert {str(tmp_path / "7.nii"), str(tmp_path / "31.nii")} <= found
    assert len(found) <= 3


def test_a_poll_continues_with_checks_in_the_next_piece(tmp_path, fifty):
    clock = Clock(0.01)
    poller = FolderPoller(str(tmp_path), False, everything, clock)
    done = {path: versionOf(path) for path in fifty}
    found, pieces = [], 0
    while poller.isDue():
        found += poller.poll(done, clock.now + 0.1)
        pieces += 1
    assert sorted(found) == sorted(fifty)
    assert pieces > 5


# ---- replaced files


def test_changes_that_make_another_file(tmp_path):
    path, part = tmp_path / "a.nii", tmp_path / "part"
    (tmp_path / "clock").touch()
    when = (10**18, 10**18)
    path.write_bytes(b"12345")
    os.utime(path, ns=when)
    first = versionOf(str(path))
    assert isAnother(None, first)
    assert not isAnother(first, versionOf(str(path)))
    for change, another in (
        (lambda: (part.write_bytes(b"54321"), os.utime(part, ns=when), os.replace(part, path)), True),
        (lambda: (path.write_bytes(b"24680"), os.utime(path, ns=when)), os.name != "nt"),
        (lambda: (path.write_bytes(b"123456"), os.utime(path, ns=when)), True),
        (lambda: os.utime(path, ns=(10**18, 10**18 + 10**9)), True),
        (lambda: os.link(path, tmp_path / "link"), False),
        (lambda: os.unlink(tmp_path / "link"), False),
        (lambda: path.chmod(0o400), False),
        (lambda: path.chmod(0o600), False),
    ):
        before = versionOf(str(path))
        while versionOf(str(path))[2] >= (tmp_path / "clock").stat().st_mtime_ns and os.name != "nt":
            (tmp_path / "clock").write_bytes(b"")  # until the clock of the file system advances
        change()
        assert isAnother(before, versionOf(str(path))) is another, change
    # Some file systems give a file another number after a while.
    now = versionOf(str(path))
    assert isAnother(now, (*now[:3], now[3] + 1, now[4])) is (os.name == "nt")


def test_a_few_known_files_are_checked_at_each_poll(tmp_path, fifty):
    poller = FolderPoller(str(tmp_path), False, everything, Clock())
    done = {path: versionOf(path) for path in fifty}
    for _ in range(3):
        assert poller.poll(done, math.inf) == done


def test_polling_takes_a_small_part_of_the_time(tmp_path, fifty):
    clock = Clock(0.0)
    poller = FolderPoller(str(tmp_path), False, everything, clock)
    for tick, pause in ((0.0, FASTEST), (0.0005, None), (1.0, SLOWEST)):
        clock.tick = tick
        before = clock.now
        poller.poll({}, math.inf)
        cost = clock.now - before
        clock.tick = 0.0
        expected = pause or SHARE * cost
        assert poller.due - clock.now == pytest.approx(expected, rel=0.2)
        assert not poller.isDue()
        clock.now = poller.due
        assert poller.isDue()


def test_polls_are_rare_until_a_file_arrives(tmp_path):
    clock = Clock()
    poller = FolderPoller(str(tmp_path), False, everything, clock)
    clock.now += ACTIVE
    poller.poll({}, math.inf)
    assert poller.due == clock.now + IDLE
    poller.noteNew()
    assert poller.due == clock.now + FASTEST
    clock.now = poller.due
    poller.poll({}, math.inf)
    assert poller.due == clock.now + FASTEST


def test_a_hint_starts_a_poll_but_keeps_the_share_of_time(tmp_path, fifty):
    clock = Clock(0.005)
    poller = FolderPoller(str(tmp_path), False, everything, clock)
    before = clock.now
    poller.poll({}, math.inf)
    cost = clock.now - before
    clock.tick = 0.0
    poller.hurry()
    assert poller.due - clock.now == pytest.approx(cost, rel=0.2)
    clock.now = poller.due + 0.001
    poller.postpone(5)
    assert poller.due == clock.now + 5
    poller.hurry()
    assert poller.due == clock.now


def test_a_poll_restarts_after_the_folder_was_gone(tmp_path, fifty):
    clock = Clock(0.01)
    poller = FolderPoller(str(tmp_path), False, everything, clock)
    poller.poll({}, clock.now + 0.1)
    assert not poller.begins
    away = tmp_path.rename(tmp_path.with_name("away"))
    other = FolderPoller(str(tmp_path), False, everything, Clock())
    for one in (other,):
        with pytest.raises(FileNotFoundError):
            one.poll({}, math.inf)
        assert one.begins
    away.rename(tmp_path)
    assert other.poll({}, math.inf).keys() == fifty
    assert poller.all().keys() == fifty


@pytest.mark.skipif(os.name != "posix", reason="file names are always text there")
def test_a_series_name_that_is_not_utf8_is_written_as_text():
    series = seriesOf("{series}_*")
    names = [os.fsdecode(b"B\xf6ld_0.nii"), os.fsdecode(b"B\xe4ld_0.nii"), "B\u00f6ld_0.nii"]
    assert [series(name) for name in names] == ["B\\xf6ld", "B\\xe4ld", "B\u00f6ld"]
