import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Formats.Inflate import ZLIB, Inflated
from RealTimeImagingLib.Formats.Raw import allocate
from RealTimeImagingLib.Model.Errors import NotAnImageError
from unit.examples import examples

CONTENT = bytes(range(256)) * 40
LIMIT = 1 << 20


def opened(path, data, **options):
    path.write_bytes(data)
    return Inflated(str(path), LIMIT, **options)


def content(inflated, size=None):
    target = allocate(size or len(CONTENT), LIMIT, "")
    inflated.readInto(0, target)
    return target.tobytes()


@examples(1.5)
@given(
    pieces=st.lists(st.integers(1, 400), max_size=30),
    members=st.integers(1, 4),
    rest=st.sampled_from([b"", b"\0\0\0", b"garbage"]),
)
def test_members_in_odd_pieces_with_garbage_after_them(tmp_path, pieces, members, rest):
    cut = len(CONTENT) // members
    parts = [CONTENT[n * cut : (n + 1) * cut if n + 1 < members else None] for n in range(members)]
    data = b"".join(map(gzip.compress, parts))
    path = tmp_path / "a.gz"
    inflated = opened(path, b"")
    done = 0
    for piece in pieces:
        if done + piece >= len(data):
            break
        done += piece
        path.write_bytes(data[:done])
        assert inflated.missing(len(CONTENT)) is not None
    path.write_bytes(data + rest)
    assert inflated.missing(len(CONTENT)) is None
    assert inflated.sealed
    assert content(inflated) == CONTENT


def test_the_declared_length_alone_is_not_enough(tmp_path):
    data = gzip.compress(CONTENT)
    inflated = opened(tmp_path / "a.gz", data[:-1])
    assert "end of the compressed stream" in inflated.missing(len(CONTENT))
    assert not inflated.sealed


@pytest.mark.parametrize("position", [-1, -5, 40])
def test_a_wrong_checksum_length_or_code_is_damage(tmp_path, position):
    data = bytearray(gzip.compress(CONTENT))
    data[position] ^= 0x55
    with pytest.raises(NotAnImageError) as caught:
        opened(tmp_path / "a.gz", data).missing(len(CONTENT))
    assert caught.value.code == "damaged"


def test_more_than_is_declared_is_checked_and_thrown_away(tmp_path):
    inflated = opened(tmp_path / "a.gz", gzip.compress(CONTENT))
    assert inflated.missing(100) is None
    assert content(inflated, 100) == CONTENT[:100]
    assert len(inflated._buffer) == 100


def test_a_small_file_that_declares_much_takes_little_memory(tmp_path):
    inflated = Inflated(str(tmp_path / "a.gz"), 1 << 40)
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"short")[:-4])
    assert inflated.missing(1 << 39) is not None
    assert len(inflated._buffer) < 1 << 16


def test_more_than_the_limit_is_refused(tmp_path):
    inflated = opened(tmp_path / "a.gz", gzip.compress(bytes(2 * LIMIT)))
    with pytest.raises(NotAnImageError) as caught:
        inflated.missing(2 * LIMIT)
    assert caught.value.code == "too-large"


def test_a_file_that_is_written_anew_is_read_anew(tmp_path):
    inflated = opened(tmp_path / "a.gz", gzip.compress(bytes(5000) + CONTENT)[:-9])
    assert inflated.missing(len(CONTENT)) is not None
    (tmp_path / "b.gz").write_bytes(gzip.compress(CONTENT))
    (tmp_path / "b.gz").replace(tmp_path / "a.gz")
    assert inflated.missing(len(CONTENT)) is None
    assert content(inflated) == CONTENT


def test_zlib_with_something_before_and_after(tmp_path):
    packed = zlib.compress(b"skipped" + CONTENT)
    inflated = opened(tmp_path / "a", b"head" + packed + b"tail", wrapper=ZLIB, offset=4, skip=7, end=4 + len(packed))
    assert inflated.missing(len(CONTENT)) is None
    assert content(inflated) == CONTENT
