"""DICOM receiver with real associations: volumes, answers, files, misbehaving senders."""

from __future__ import annotations

import itertools
import os
import random
import socket
import struct
import threading
import tracemalloc
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless, MRImageStorage, RLELossless, generate_uid
from pynetdicom.dsutils import encode
from RealTimeImagingLib.Model.Errors import SettingsError
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Sources.DICOM import Association, DICOMSettings, StorageSCP
from RealTimeImagingLib.Sources.Source import Arrival
from unit.conftest import until
from unit.dicomSource import Receiver, Scanner, pixelsOf, sender, series, slice_, stackOf
from unit.openIGTLinkSource import descriptors
from unit.readers import assertSameAtWorldPoints
from unit.recordings import filesOfAtMost, withoutRights
from unit.test_DICOMMosaic import mosaic, placed

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def receive(tmp_path, workFolder):
    """Start a Receiver that stores files in the folder ``kept``."""
    made = []

    def start(listen=True, **values):
        made.append(Receiver(workFolder, **{"folder": tmp_path / "kept", **values}))
        if listen:
            made[-1].listen()
        return made[-1]

    yield start
    for one in made:
        one.close()


def files(receiver):
    return sorted(path for path in Path(receiver.settings.folder).rglob("*") if path.is_file())


def send(receiver, *datasets, pause=0.0):
    """Send in one association; return the answers."""
    return receiver.untilSent(Scanner(receiver.port, datasets, pause)).statuses


def simpleITK(paths):
    """Read the series with SimpleITK, sorted by GDCM along the normal."""
    reader = SimpleITK.ImageSeriesReader()
    folder = os.path.dirname(paths[0])
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
    return reader.Execute()


# ---- volumes


@pytest.mark.parametrize("order", ["up", "down", "interleaved", "random"])
def test_a_series_is_a_volume_where_SimpleITK_has_it(receive, order):
    receiver = receive()
    slices = series(7, step=4.0, AcquisitionDate="20250102", AcquisitionTime="030405.5")
    sent = {
        "up": slices,
        "down": slices[::-1],
        "interleaved": slices[::2] + slices[1::2],
        "random": [slices[index] for index in np.random.default_rng(1).permutation(7)],
    }[order]
    assert send(receiver, *sent) == [0] * 7
    assert receiver.streams == ["t2 tse 7"]
    frame = receiver.frames[0]
    np.testing.assert_array_equal(frame.image.pixels, stackOf(slices))
    assertSameAtWorldPoints(frame.image, simpleITK(files(receiver)))
    assert np.linalg.norm(frame.image.ijkToRAS[:3, 2]) == pytest.approx(4.0, abs=1e-5)
    assert pydicom.valuerep.DT("20250102030405.5").timestamp() == frame.image.deviceTime
    assert frame.image.attributes["Slices"] == "7"
    assert frame.image.attributes["SeriesDescription"] == "t2 tse"
    assert "InstanceNumber" not in frame.image.attributes
    assert receiver.codes == ["listening"]


def test_pixels_are_written_into_the_buffer_of_the_ring(receive):
    receiver = receive()
    memory = np.full(3 * 6 * 5 * 2, 77, np.uint8)

    def getBuffer(nbytes):
        receiver.buffers.append(nbytes)
        return memory

    receiver.source._getBuffer = getBuffer
    slices = series(3)
    send(receiver, *slices)
    assert receiver.buffers == [memory.nbytes]
    assert np.shares_memory(receiver.frames[0].image.pixels, memory)
    np.testing.assert_array_equal(memory.view(np.int16).reshape(3, 6, 5), stackOf(slices))


def test_slices_with_different_pixel_types_are_one_volume(receive):
    """A PET has a slope for each slice; some are whole numbers."""
    receiver = receive()
    slopes = ["1", "0.5", "2"]
    slices = series(3)
    for one, slope in zip(slices, slopes, strict=True):
        one.RescaleSlope, one.RescaleIntercept = slope, "0"
    send(receiver, *slices)
    pixels = receiver.frames[0].image.pixels
    assert pixels.dtype == np.float32
    factors = np.array([float(slope) for slope in slopes]).reshape(3, 1, 1)
    np.testing.assert_array_equal(pixels, stackOf(slices) * factors)


def test_time_points_are_frames_with_their_times(receive):
    receiver = receive()
    uid = generate_uid()
    moments = [
        series(4, first=1 + 4 * turn, series=uid, AcquisitionDate="20250102", AcquisitionTime=f"0304{turn:02d}")
        for turn in range(5)
    ]
    assert set(send(receiver, *itertools.chain(*moments))) == {0}
    assert receiver.sums == [checksum(stackOf(one)) for one in moments]
    times = [frame.image.deviceTime for frame in receiver.frames]
    assert np.diff(times).tolist() == [1.0] * 4


def test_a_volume_is_complete_with_its_last_slice_when_the_header_has_their_number(receive):
    receiver = receive()
    slices, hold = series(5, ImagesInAcquisition="5"), threading.Event()
    scanner = Scanner(receiver.port, slices, hold=hold)
    receiver.until(lambda: receiver.frames)
    assert scanner.is_alive()
    hold.set()
    assert receiver.untilSent(scanner).statuses == [0] * 5


def test_several_series_at_once_are_several_streams(receive):
    receiver = receive()
    many = [series(6), series(4, SeriesDescription="", SeriesNumber=3), series(5)]
    scanners = [Scanner(receiver.port, one, pause=0.005) for one in many]
    for one in scanners:
        receiver.untilSent(one)
    assert sorted(receiver.streams) == ["DICOM 3", "t2 tse 7", "t2 tse 7 (2)"]
    assert sorted(receiver.sums) == sorted(checksum(stackOf(one)) for one in many)


def test_two_associations_send_one_series(receive):
    receiver = receive()
    slices = series(8, ImagesInAcquisition="8")
    scanners = [Scanner(receiver.port, slices[turn::2]) for turn in (0, 1)]
    for one in scanners:
        receiver.untilSent(one)
    assert receiver.sums == [checksum(stackOf(slices))]


def test_an_association_for_each_slice(receive):
    receiver = receive()
    slices = series(5)
    for one in slices:
        assert send(receiver, one) == [0]
    assert receiver.frames == []
    assert "t2 tse 7: 5 slices" in receiver.source.status
    receiver.until(lambda: receiver.frames, passes=0.5)
    assert receiver.sums == [checksum(stackOf(slices))]


def test_a_missing_slice_is_reported_and_shown_as_zeros(receive):
    receiver = receive()
    slices = series(9, step=3.0)
    lost = slices.pop(4)
    send(receiver, *slices)
    assert receiver.frames == []  # it may still come, with another association
    receiver.until(lambda: receiver.frames, passes=0.5)
    event = next(event for event in receiver.events if event.code == "incomplete")
    assert "8 of 9 slices" in event.text
    assert "between the instances 4 and 6" in event.text
    slices.insert(4, slice_(5, 12.0, pixels=np.zeros((6, 5), np.int16)))
    np.testing.assert_array_equal(receiver.frames[0].image.pixels, stackOf(slices))
    # the missing slice arrives late
    send(receiver, lost)
    receiver.until(lambda: len(receiver.frames) == 2, passes=0.5)
    slices[4] = lost
    np.testing.assert_array_equal(receiver.frames[1].image.pixels, stackOf(slices))


def test_a_folder_that_does_not_respond_is_named(receive, monkeypatch):
    receiver, responds, sync = receive(), threading.Event(), os.fsync
    monkeypatch.setattr(StorageSCP, "LONGEST_ACCESS", 0.1)
    monkeypatch.setattr(os, "fsync", lambda handle: (responds.wait(20), sync(handle)))
    scanner = Scanner(receiver.port, series(3))
    receiver.until(lambda: receiver.source.status.startswith(f"Access to {receiver.settings.folder} takes more than"))
    responds.set()
    assert receiver.untilSent(scanner).statuses == [0] * 3
    assert receiver.source.status.endswith("3 instances stored.")
    assert receiver.shapes == [(3, 6, 5)]


def test_slices_that_wait_while_the_process_is_halted_belong_to_their_volume(receive):
    receiver = receive()
    slices = series(6)
    with sender(receiver.port, *slices) as association:
        for one in slices[:4]:
            association.send_c_store(one)
        receiver.until(lambda: "4 slices" in str(receiver.source.status))
        for _halt in range(3):
            receiver.step(passes=60.0)
        for one in slices[4:]:
            association.send_c_store(one)
    receiver.until(lambda: receiver.frames, passes=0.5)
    assert receiver.shapes == [(6, 6, 5)]


def test_slices_that_wait_for_their_turn_belong_to_their_volume(receive):
    receiver = receive()
    volumes = [series(6), series(6)]
    with sender(receiver.port, *volumes[0]) as association:
        for one in (*volumes[0][:4], *volumes[1][:4]):
            association.send_c_store(one)
        receiver.until(lambda: [len(one.slices) for one in receiver.source._assembly.open] == [4, 4])
        for one in (*volumes[0][4:], *volumes[1][4:]):
            association.send_c_store(one)
        # Each slice takes a turn.
        receiver.clock.tick = 0.2
        receiver.step(passes=60.0)
        receiver.clock.tick = 0.0
    receiver.until(lambda: len(receiver.frames) == 2, passes=0.5)
    assert receiver.shapes == [(6, 6, 5)] * 2


def test_unevenly_spaced_slices_are_shown_each_in_its_place(receive):
    receiver = receive()
    uid = generate_uid()
    slices = [slice_(number, place, series=uid) for number, place in enumerate((0.0, 3.0, 7.7, 9.0), 1)]
    send(receiver, *slices)
    receiver.until(lambda: len(receiver.frames) == 4, passes=0.5)
    assert [event.code for event in receiver.events] == ["listening", "uneven"]
    for frame, one in zip(receiver.frames, slices, strict=True):
        np.testing.assert_array_equal(frame.image.pixels[0], stackOf([one])[0])
        place = frame.image.ijkToRAS[:3, 3] * (-1, -1, 1)
        np.testing.assert_allclose(place, [float(value) for value in one.ImagePositionPatient], atol=1e-5)


def test_a_description_with_a_NUL_names_a_stream_without_it(receive):
    """A NUL would end the name of its volume, and hide the number of the series."""
    receiver = receive()
    assert send(receiver, slice_(1, 0.0, SeriesDescription="t2\0tse")) == [0]
    receiver.until(lambda: receiver.frames, passes=3)
    assert receiver.streams == ["t2 tse 7"]


def test_a_volume_is_shown_as_it_grows(receive):
    receiver = receive(growing=True, completeAfter=60)
    slices = series(5, ImagesInAcquisition="5")
    for count, number in enumerate((4, 0, 2, 1, 3), 1):
        assert send(receiver, slices[number]) == [0]
        receiver.until(lambda count=count: len(receiver.frames) == count, passes=0.3)
    np.testing.assert_array_equal(receiver.frames[-1].image.pixels, stackOf(slices))
    assert [shape[0] for shape in receiver.shapes] == [1, 2, 3, 5, 5]
    fourth = receiver.frames[3].image
    assert fourth.attributes["Slices"] == "4"
    np.testing.assert_array_equal(fourth.pixels[[0, 1, 2, 4]], stackOf([slices[place] for place in (0, 1, 2, 4)]))
    assert not fourth.pixels[3].any()
    assert "incomplete" not in receiver.codes


def test_a_process_that_dies_after_a_frame_shows_its_slices_once(receive):
    """Before the source continues, the frame has its number and is stored."""
    receiver = receive()
    slices = [slice_(number, position) for number, position in enumerate((0, 1, 2.3, 7, 7.9, 11, 15.2))]
    hold = threading.Event()
    scanner = Scanner(receiver.port, slices[:4], hold=hold)
    receiver.until(lambda: "4 slices" in receiver.source.status)
    first = next(item for item in receiver.source.rest() if isinstance(item, Arrival))
    receiver.checkpoint.accept(first.stream)
    hold.set()
    scanner.join(20)
    receiver.reopen()
    receiver.listen()
    assert send(receiver, *slices[4:]) == [0] * 3
    receiver.until(lambda: len(receiver.frames) == 6, passes=3)
    found = sorted(frame.image.pixels.tobytes() for frame in [first, *receiver.frames])
    assert found == sorted(one.PixelData for one in slices)
    assert receiver.checkpoint.numbers == {first.stream: 7}


# ---- instances that are images by themselves


def test_a_cine_and_a_picture_without_a_place_are_shown_at_once(receive):
    receiver = receive()
    cine = pydicom.dcmread(get_testdata_file("examples_ybr_color.dcm"))
    picture, hold = slice_(1, 0.0, ImagePositionPatient=None, SeriesDescription="CR", series="1.5"), threading.Event()
    scanner = Scanner(receiver.port, [cine, picture], hold=hold)
    receiver.until(lambda: len(receiver.frames) == int(cine.NumberOfFrames) + 1)
    hold.set()
    assert receiver.untilSent(scanner).statuses == [0, 0]
    assert receiver.frames[0].image.pixels.shape == (1, cine.Rows, cine.Columns, 3)
    assert receiver.frames[0].image.attributes["SourceFile"].endswith(".dcm")
    assert receiver.streams[-1] == "CR 7"
    np.testing.assert_array_equal(receiver.frames[-1].image.pixels[0], pixelsOf(1))


def test_a_mosaic_is_a_volume_at_once(receive, tmp_path):
    volume = np.random.default_rng(1).integers(0, 900, (7, 6, 8)).astype(np.int16)
    path = mosaic(tmp_path / "mosaic.dcm", volume, SeriesInstanceUID="1.2.4", StudyInstanceUID="1.2", **placed())
    one = pydicom.dcmread(path)
    receiver = receive()
    send(receiver, one)
    np.testing.assert_array_equal(receiver.frames[0].image.pixels, volume)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_instances_are_stored_unchanged_and_shown(receive, syntax):
    receiver = receive()
    slices = series(3, BitsStored=16)
    plain = stackOf(slices)
    for one in slices:
        one.compress(syntax)
    assert send(receiver, *slices) == [0] * 3
    np.testing.assert_array_equal(receiver.frames[0].image.pixels, plain)
    for path, one in zip(files(receiver), slices, strict=True):
        stored = pydicom.dcmread(path)
        assert stored.file_meta.TransferSyntaxUID == syntax
        assert stored.PixelData == one.PixelData


def test_instances_without_a_usable_image_are_stored_counted_and_reported(receive):
    receiver = receive()
    report = slice_(1, 0.0)
    for name in ("PixelData", "Rows", "Columns", "ImagePositionPatient"):
        delattr(report, name)
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    odd = slice_(2, 0.0)
    odd.Rows = 7  # more than there are pixels for
    slices = series(3)
    assert send(receiver, report, odd, *slices) == [0] * 5
    assert receiver.sums == [checksum(stackOf(slices))]
    assert len(files(receiver)) == 5
    assert receiver.codes == ["listening", "unsupported", "damaged"]
    assert "structured report" in receiver.events[1].text
    assert receiver.checkpoint.rejected == 2


# ---- files and answers


def test_the_answer_success_follows_the_file(receive):
    """Acknowledged instances are on disk even when nothing reads the source."""
    receiver = receive()
    slices = series(3, SeriesNumber=12)
    scanner = Scanner(receiver.port, slices)
    receiver.until(lambda: receiver.source._scp.senders)  # and no longer
    scanner.join(20)
    assert scanner.statuses == [0] * 3
    paths = files(receiver)
    assert [path.name for path in paths] == [f"{n:06d}-{one.SOPInstanceUID}.dcm" for n, one in enumerate(slices, 1)]
    assert {path.parent.name[:5] for path in paths} == {"0012-"}
    for path, one in zip(paths, slices, strict=True):
        stored = pydicom.dcmread(path)
        assert stored == one
        assert stored.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
    receiver.untilSent(scanner)
    assert receiver.sums == [checksum(stackOf(slices))]


def test_a_duplicate_is_a_success_and_not_shown_again(receive):
    receiver = receive()
    slices = series(3)
    send(receiver, *slices)
    assert send(receiver, *slices) == [0] * 3
    receiver.step(passes=9)
    assert len(receiver.frames) == 1
    assert len(files(receiver)) == 3
    assert "3 of 3 instances" in next(event.text for event in receiver.events if event.code == "duplicate")
    assert "6 instances stored, 3 of them duplicates" in receiver.source.status
    # another image under the same UID is another image
    changed = slices[1].copy()
    changed.PixelData = slices[0].PixelData
    assert send(receiver, changed) == [0]
    assert len(files(receiver)) == 4


def test_a_series_of_an_earlier_session_is_shown_and_not_stored_twice(receive, tmp_path):
    receiver = receive()
    slices = series(3)
    send(receiver, *slices)
    before = files(receiver)
    other = tmp_path / "other"
    other.mkdir()
    receiver._workFolder = other
    receiver.reopen()
    receiver.listen()
    send(receiver, *slices)
    assert len(receiver.frames) == 2
    assert files(receiver) == before


def test_stored_slices_are_shown_after_a_crash(receive):
    receiver = receive()
    whole, half = series(3), series(4, ImagesInAcquisition="4")
    send(receiver, *whole, *half[:3])
    assert len(receiver.frames) == 1
    receiver.reopen()
    receiver.listen()
    send(receiver, *whole, half[3])
    assert receiver.sums == [checksum(stackOf(whole)), checksum(stackOf(half))]
    assert receiver.streams == ["t2 tse 7", "t2 tse 7 (2)"]


@pytest.mark.skipif(os.name != "posix", reason="a limit for the size of files is set in another way there")
def test_a_full_disk_is_answered_with_a_failure_until_there_is_room(receive):
    receiver = receive()
    slices = series(3)
    large = slice_(9, 0.0, pixels=np.zeros((200, 200), np.int16))
    with filesOfAtMost(20_000):
        scanner = receiver.untilSent(Scanner(receiver.port, [large, slices[0]]))
    assert scanner.statuses == [0xA700, 0]
    assert "the file is too large" in scanner.comments[0]
    event = next(event for event in receiver.events if event.code == "not-stored")
    assert "the file is too large" in event.text
    assert large.SOPInstanceUID in event.text
    assert receiver.checkpoint.rejected == 1
    assert len(files(receiver)) == 1
    assert send(receiver, large, *slices[1:]) == [0] * 3


@pytest.mark.skipif(os.name != "posix", reason="rights are others there")
def test_a_read_only_folder_is_answered_with_a_failure(receive, tmp_path):
    receiver = receive()
    with withoutRights(tmp_path / "kept"):
        assert send(receiver, slice_(1, 0.0)) == [0xA700]
    assert "not-stored" in receiver.codes
    assert files(receiver) == []


def test_a_removed_folder_is_made_again(receive, tmp_path):
    receiver = receive()
    (tmp_path / "kept").rmdir()
    assert send(receiver, slice_(1, 0.0)) == [0]
    assert len(files(receiver)) == 1


def test_a_folder_that_cannot_be_made_is_reported(receive, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    receiver = receive(folder=str(tmp_path / "file" / "kept"))
    receiver.untilCode("folder-missing")
    assert "no instance can be stored" in receiver.source.status
    assert send(receiver, slice_(1, 0.0)) == [0xA700]


def test_a_damaged_data_set_is_answered_with_a_failure(receive):
    receiver = receive()
    whole, anonymous = slice_(2, 0.0), slice_(3, 0.0)
    del anonymous.SeriesInstanceUID
    assert send(receiver, anonymous, whole) == [0xC000, 0]
    assert receiver.codes == ["listening", "cannot-understand"]
    assert anonymous.SOPInstanceUID in receiver.events[1].text
    assert receiver.checkpoint.rejected == 1
    assert len(files(receiver)) == 1


# ---- senders


def test_echo(receive):
    receiver = receive()
    assert send(receiver) == [0]
    assert receiver.codes == ["listening", "echo"]
    assert "The connection works; no image was sent yet." in receiver.source.status


def test_titles_are_checked_as_the_settings_say(receive):
    receiver = receive(checkCalled=True, callers=("SCANNER", "CT1"), aeTitle="ROOM2")
    outcomes = []
    for title, called in (("SCANNER", "ROOM2"), ("CT1", "ROOM2"), ("CT2", "ROOM2"), ("CT1", "ROOM1")):
        outcomes.append(receiver.untilSent(Scanner(receiver.port, [], title=title, called=called)).refused)
    assert outcomes == [False, False, True, True]
    texts = [event.text for event in receiver.events if event.code == "peer-refused"]
    assert "CT2" in texts[0]
    assert "its AE title CT2 is not among the allowed AE titles" in texts[0]
    assert "it calls the AE title ROOM1, but this receiver is ROOM2" in texts[1]


def test_a_computer_that_is_not_allowed_is_refused(receive):
    receiver = receive(allowed=("10.9.8.7",))
    with closing(socket.create_connection(("127.0.0.1", receiver.port))):
        receiver.untilCode("peer-refused")


def test_an_association_without_a_common_context_is_reported(receive):
    receiver = receive()
    # MPEG-4, and not even an echo
    syntaxes = ["1.2.840.10008.1.2.4.102"]
    receiver.untilSent(Scanner(receiver.port, [], syntaxes=syntaxes, echo=False))
    receiver.untilCode("nothing-in-common")
    assert "MR Image Storage" in receiver.events[1].text


def test_the_eleventh_association_is_rejected_and_the_next_one_finds_a_place(receive):
    receiver = receive()
    hold = threading.Event()
    scanners = [Scanner(receiver.port, [], hold=hold) for _ in range(11)]
    receiver.until(lambda: sum(bool(one.refused or one.statuses) for one in scanners) == 11)
    assert sum(one.refused for one in scanners) == 1
    hold.set()
    for one in scanners:
        receiver.untilSent(one)
    assert "10 associations are open already" in receiver.events[1].text
    assert send(receiver, slice_(1, 0.0)) == [0]


def request():
    """Return the A-ASSOCIATE-RQ of a real sender."""
    heard = []
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def dial():
            with sender(listener.getsockname()[1]):
                pass

        thread = threading.Thread(target=dial)
        thread.start()
        connection, _ = listener.accept()
        with closing(connection):
            heard.append(connection.recv(1 << 16))
        thread.join(20)
    return heard[0]


def test_a_sender_that_disconnects_in_an_instance_leaves_one_event_and_no_file(receive):
    receiver = receive()
    with closing(socket.create_connection(("127.0.0.1", receiver.port))) as connection:
        connection.sendall(request())
        answer = []
        thread = threading.Thread(target=lambda: answer.append(connection.recv(1 << 16)))
        thread.start()
        receiver.until(lambda: answer)
        assert answer[0][:1] == b"\x02"
        # P-DATA-TF: a fragment of a command, then half of an announced one
        connection.sendall(struct.pack(">BBIIBB", 4, 0, 6 + 50, 52, 1, 1) + bytes(50))
        connection.sendall(struct.pack(">BBI", 4, 0, 9000) + bytes(100))
        receiver.until(lambda: receiver.source._scp.senders)
    receiver.untilCode("sender-lost")
    assert receiver.codes == ["listening", "sender-lost"]
    assert receiver.checkpoint.rejected == 1
    assert files(receiver) == []
    assert send(receiver, slice_(1, 0.0)) == [0]


@contextmanager
def associated(receiver):
    """Yield a connection whose association is accepted, for messages that no real sender sends."""
    with closing(socket.create_connection(("127.0.0.1", receiver.port), 10)) as connection:
        connection.sendall(request())
        answer = []
        thread = threading.Thread(target=lambda: answer.append(connection.recv(1 << 16)))
        thread.start()
        receiver.until(lambda: answer)
        yield connection


def commandPDU(data, isLast):
    """Return a P-DATA-TF with a fragment of a command in the first presentation context, MR images."""
    return struct.pack(">BBIIBB", 4, 0, len(data) + 6, len(data) + 2, 1, 1 | 2 * isLast) + data


def storeCommand(uid):
    """Return an encoded C-STORE-RQ."""
    one = Dataset()
    one.AffectedSOPClassUID, one.AffectedSOPInstanceUID = MRImageStorage, uid
    one.CommandField, one.MessageID, one.Priority, one.CommandDataSetType = 1, 1, 0, 1
    one.CommandGroupLength = len(encode(one, True, True))
    return encode(one, True, True)


def test_commands_without_data_leave_no_file(receive):
    receiver = receive()
    with associated(receiver) as connection:
        for number in range(20):
            connection.sendall(commandPDU(storeCommand(f"1.2.{number}"), isLast=True))
        receiver.until(lambda: receiver.source._scp._states[0].taken >= 20 * len(storeCommand("1.2.1")))
    receiver.untilCode("sender-lost")
    assert files(receiver) == []


def test_a_command_without_end_ends_the_association(receive):
    """Commands stay in memory."""
    receiver = receive()
    with associated(receiver) as connection, suppress(OSError):
        for _ in range(200):
            connection.sendall(commandPDU(bytes(100_000), isLast=False))
            receiver.step()
    receiver.untilCode("too-large")
    assert "a command of more than" in receiver.events[-1].text


def test_an_instance_that_is_too_large_ends_the_association(receive):
    receiver = receive(sizeLimit=1 << 20)
    large = slice_(1, 0.0, pixels=np.zeros((1200, 1000), np.int16))
    scanner = Scanner(receiver.port, [large])
    receiver.untilSent(scanner)
    assert scanner.statuses != [0]
    assert "too-large" in receiver.codes
    assert receiver.checkpoint.rejected == 1
    assert files(receiver) == []


def open_():
    """Count threads and descriptors of this process."""
    return threading.active_count(), descriptors()


def nothingMoreThan(before):
    """Compare with an earlier count; senders of earlier tests may have ended meanwhile."""
    return all(now <= then for now, then in zip(open_(), before, strict=True))


GARBAGE = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00" + b"\x01" * 300,
    b"\x00" * 400,
    b"\xff" * 4000,
    b"\x01\x00\xff\xff\xff\xff" + b"\x00" * 100,
    b"\x01\x00\x00\x00\x00\x44" + b"\x77" * 0x44,
    b"\x01\x00\x00\x00\x00\x44" + b"\x00" * 0x20,
    b"\x01",
    b"",
)


def test_garbage_leaks_nothing_and_the_next_association_works(receive):
    receiver = receive()
    before = open_()
    # The first few texts are reported at once: those that follow are counted.
    for words, text in ((GARBAGE[0], "A web browser connected from 127.0.0.1"), (GARBAGE[1], "connected with TLS")):
        with closing(socket.create_connection(("127.0.0.1", receiver.port))) as connection:
            connection.sendall(words)
            receiver.until(lambda text=text: text in str(receiver.events))
    for turn in range(5):
        for words in GARBAGE:
            with closing(socket.create_connection(("127.0.0.1", receiver.port))) as connection:
                connection.sendall(words)
                receiver.step()
                receiver.step()
        assert send(receiver, slice_(2 + turn, 3.0)) == [0]
    receiver.until(lambda: not receiver.source._scp.senders)
    receiver.until(lambda: nothingMoreThan(before))
    assert len(files(receiver)) == 5


def test_damaged_requests_leak_nothing_and_the_next_association_works(receive, monkeypatch):
    receiver, ended = receive(), []
    monkeypatch.setattr(threading, "excepthook", ended.append)
    whole, random_ = request(), random.Random(1)
    before = open_()
    for turn in range(40):
        words = bytearray(whole)
        if turn == 0:
            words[words.index(b"1.2.840.10008.5") - 8] = 2  # identifiers of contexts are odd
        for _ in range(random_.randint(1, 6) if turn else 0):
            words[random_.randrange(len(words))] = random_.randrange(256)
        with closing(socket.create_connection(("127.0.0.1", receiver.port))) as connection:
            connection.sendall(words[: random_.choice((len(words), random_.randrange(len(words))))])
            receiver.step()
            receiver.step()
    receiver.until(lambda: not receiver.source._scp.senders)
    receiver.until(lambda: nothingMoreThan(before))
    assert send(receiver, slice_(1, 0.0)) == [0]
    assert {event.level for event in receiver.events} <= {"info", "warning"}
    assert not ended, "no traceback of pynetdicom reaches the terminal"


def test_the_length_of_a_pdu_takes_no_memory_before_its_bytes():
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _address = server.accept()
    with ours, theirs:
        theirs.sendall(bytes(range(200)) * 1000)
        theirs.close()
        state = Association.AssociationState(1, None, ours, "peer", limit=1 << 30, requested=True)
        tracemalloc.start()
        try:
            assert state.receive(500 << 20) == bytes(range(200)) * 1000
            assert tracemalloc.get_traced_memory()[1] < 2 << 20
        finally:
            tracemalloc.stop()


@pytest.fixture
def negotiation(monkeypatch):
    """Half a second for an association request."""
    for module in (Association, StorageSCP):
        monkeypatch.setattr(module, "NEGOTIATION", 0.5)


def test_a_silent_peer_is_disconnected(receive, negotiation):
    receiver = receive()
    with closing(socket.create_connection(("127.0.0.1", receiver.port))) as connection:
        receiver.untilCode("peer-silent")
        assert connection.recv(1) == b""


def test_a_peer_that_sends_its_request_byte_by_byte_is_disconnected(receive, negotiation):
    receiver, words = receive(), request()
    with closing(socket.create_connection(("127.0.0.1", receiver.port))) as connection:
        for byte in words:
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                break
            receiver.step(seconds=0.1)
            if "not-dicom" in receiver.codes:
                break
    assert "sent no complete DICOM association request" in receiver.events[-1].text
    receiver.until(lambda: not receiver.source._scp.senders)


def test_an_idle_association_is_aborted(receive, monkeypatch):
    for module in (Association, StorageSCP):
        monkeypatch.setattr(module, "IDLE", 0.5)
    receiver, hold = receive(), threading.Event()
    scanner = Scanner(receiver.port, [slice_(1, 0.0)], hold=hold)
    receiver.untilCode("sender-gone")
    assert "sent nothing for" in receiver.events[-1].text
    assert "1 of its instances are stored" in receiver.events[-1].text
    hold.set()
    receiver.untilSent(scanner)


def test_silent_peers_take_no_place_of_an_association(receive):
    receiver = receive()
    silent = [socket.create_connection(("127.0.0.1", receiver.port)) for _ in range(15)]
    receiver.until(lambda: len(receiver.source._scp.senders) == 15)
    scanner = Scanner(receiver.port, [slice_(1, 0.0)])
    receiver.until(lambda: not scanner.is_alive())
    assert scanner.statuses == [0]
    for one in silent:
        one.close()


def test_too_many_connections_are_closed_at_once(receive, monkeypatch):
    monkeypatch.setattr(StorageSCP, "MOST_CONNECTIONS", 3)
    receiver = receive()
    silent = [socket.create_connection(("127.0.0.1", receiver.port)) for _ in range(3)]
    receiver.until(lambda: len(receiver.source._scp.senders) == 3)
    with closing(socket.create_connection(("127.0.0.1", receiver.port))) as connection:
        assert connection.recv(1) == b""
    receiver.untilCode("peer-refused")
    assert "3 connections are open already" in receiver.events[-1].text
    for one in silent:
        one.close()
    receiver.until(lambda: not receiver.source._scp.senders)
    assert send(receiver, slice_(1, 0.0)) == [0]


def test_ended_connections_take_no_place_while_the_worker_is_busy(receive, monkeypatch):
    monkeypatch.setattr(StorageSCP, "MOST_CONNECTIONS", 3)
    receiver = receive()
    for number in range(6):
        scanner = Scanner(receiver.port, [slice_(number, 3.0 * number)])
        scanner.join(20)
        assert scanner.statuses == [0]
        until(lambda: receiver.source._scp._states[-1].isOver)


def test_an_instance_is_on_disk_while_it_arrives_and_removed_when_the_sender_disconnects(receive):
    receiver, sent = receive(), [0]
    large = slice_(1, 0.0, pixels=np.zeros((1500, 1000), np.int16))
    with sender(receiver.port, large) as association:
        wire = association.dul.socket
        original = wire.send

        def send(data):
            if sent[0] > 1 << 20:
                until(lambda: [path for path in files(receiver) if path.stat().st_size > 900_000])
                wire.close()
            else:
                sent[0] += len(data)
                original(data)

        wire.send = send
        association.send_c_store(large)
    receiver.untilCode("sender-lost")
    assert files(receiver) == []


def test_instances_that_are_sent_before_the_answer_are_stored_each(receive):
    """A sender that waits for no answer: the files keep apart."""
    receiver, slices = receive(), series(4)
    with sender(receiver.port, slices[0]) as association:
        waiting = association.dimse.get_msg
        association.dimse.get_msg = lambda block=False: (None, None)
        association._handle_no_response = lambda: None
        for one in slices:
            association.send_c_store(one)
        association.dimse.get_msg = waiting
        receiver.until(lambda: len(files(receiver)) == 4 and receiver.source._stored == 4)
    assert [pydicom.dcmread(path) for path in files(receiver)] == slices


def test_a_port_that_is_taken_is_tried_again(receive):
    with closing(socket.create_server(("127.0.0.1", 0))) as holder:
        port = holder.getsockname()[1]
        receiver = receive(listen=False, port=port)
        receiver.untilCode("port-taken")
        assert f"Port {port} is in use" in receiver.source.status
    receiver.untilCode("listening", passes=0.2)
    receiver.port = port
    assert send(receiver, slice_(1, 0.0)) == [0]


def test_listening_on_all_addresses_is_a_warning(receive):
    receiver = receive(host="0.0.0.0")
    assert receiver.events[0].level == "warning"
    assert "All computers in the network can send images there" in receiver.events[0].text


def test_close_during_an_association_leaves_nothing(receive):
    receiver = receive()
    before = open_()
    scanner = Scanner(receiver.port, series(200), pause=0.001)
    receiver.until(lambda: receiver.source._stored > 5)
    receiver.source.close()
    scanner.join(20)
    assert len(scanner.statuses) < 200
    stored = files(receiver)
    assert [path for path in stored if path.suffix != ".dcm"] == []
    assert len(stored) >= sum(status == 0 for status in scanner.statuses)
    until(lambda: nothingMoreThan(before))


# ---- settings


def test_invalid_settings_raise_an_error(tmp_path):
    for values in (
        {"folder": " "},
        {"aeTitle": ""},
        {"aeTitle": "  "},
        {"aeTitle": "A" * 17},
        {"aeTitle": "A\\B"},
        {"aeTitle": "Ä"},
        {"callers": ("OK", "")},
        {"port": 70000},
        {"port": "11112"},
        {"host": ""},
        {"allowed": ("everybody",)},
        {"growing": 1},
        {"checkCalled": None},
        {"completeAfter": 0},
        {"sizeLimit": 1},
        {"stream": " "},
    ):
        with pytest.raises(SettingsError):
            DICOMSettings(**{"folder": str(tmp_path), **values})


def test_the_folder_may_be_in_the_home_folder():
    assert DICOMSettings("~/x").folder == os.path.abspath(os.path.expanduser("~/x"))
