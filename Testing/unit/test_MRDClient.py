"""The MRD client: images of files sent to a server that the package ismrmrd reads and writes for."""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import closing, contextmanager, suppress

import h5py
import ismrmrd
import nibabel
import numpy as np
import pytest
from ismrmrd.serialization import ConfigFile, ProtocolDeserializer, ProtocolSerializer
from PIL import Image as Picture
from RealTimeImagingLib.Model.Errors import FrameError, SettingsError
from RealTimeImagingLib.Model.Frame import Image
from RealTimeImagingLib.Sources.MRD import HDF5_PACKAGES, MRDSettings
from RealTimeImagingLib.Sources.MRD.Client import MRDClient
from RealTimeImagingLib.Sources.MRD.Protocol import ImageMessage
from RealTimeImagingLib.Sources.MRD.Sending import Outgoing, messagesOf
from unit.conftest import niftiFile
from unit.mrd import (
    CENTRE,
    COLUMN,
    NORMAL,
    ROW,
    SPACING,
    Link,
    frameWorldPoints,
    header,
    image,
    phantom,
    worldPoints,
)
from unit.openIGTLinkSource import freePort

AFFINE = np.eye(4)
AFFINE[:3, :3] = np.column_stack([ROW, COLUMN, -NORMAL]) * SPACING
AFFINE[:3, 3] = CENTRE
"""Oblique and left-handed, RAS."""


def test_a_time_that_does_not_fit_into_a_header_is_named():
    late = Image(np.zeros((1, 2, 2), np.uint8), np.eye(4), 1.7e9)
    assert len(list(messagesOf(late, repetition=0, before=0, tick=2.5))) == 1
    with pytest.raises(FrameError, match="does not fit"):
        list(messagesOf(late, repetition=0, before=0, tick=1e-6))


@pytest.mark.skipif(sys.platform == "win32", reason="Users of Windows may not make links.")
def test_a_folder_with_a_circular_link_is_sent(tmp_path):
    (tmp_path / "circle.nii").symlink_to("circle.nii")
    (tmp_path / "a.nii").write_bytes(niftiFile(1))
    assert [type(one) for one in Outgoing(str(tmp_path), 0.0).messages()] == [ImageMessage] * 2


class ClientLink(Link):
    """The client with a clock that stands until it is told to go on."""

    def made(self):
        """The source."""
        return MRDClient(self.settings, self.checkpoint, self.clock, self.getBuffer)

    def finish(self):
        """Read until the measurement has ended."""
        self.until(lambda: self.codes("measurement-ended"))
        return self.codes("measurement-ended")[0]


class Server(threading.Thread):
    """A server of one measurement in a thread.

    :param answer: takes each image and returns what goes back.
    :param most: images after which the server ends; then it reads nothing more until it is closed.
    """

    def __init__(self, answer=lambda one: one, most=None):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.config, self.header, self.images = "", None, []
        self._answer, self._most, self._closing = answer, most, threading.Event()
        self.start()

    def run(self):
        # A client that goes away ends the server.
        with suppress(OSError, EOFError):
            self._serve(self.listener.accept()[0])

    def _serve(self, peer):
        with peer, peer.makefile("rwb") as stream:
            serializer = ProtocolSerializer(stream)
            for one in ProtocolDeserializer(stream).deserialize():
                if isinstance(one, ConfigFile):
                    self.config = str(one)
                elif isinstance(one, ismrmrd.Image):
                    self.images.append(one)
                    serializer.serialize(self._answer(one))
                    stream.flush()
                    if len(self.images) == self._most:
                        break
                else:
                    self.header = one
            serializer.close()
            peer.shutdown(socket.SHUT_WR)
            if self._most:
                self._closing.wait(30)
            while peer.recv(1 << 16):
                pass

    def close(self):
        self._closing.set()
        # A thread that waits for a connection does not notice that its listener is closed.
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        self.listener.close()
        self.join(10)


@contextmanager
def client(folder, path, server, **values):
    state = folder / "state"
    state.mkdir(exist_ok=True)
    with closing(server), closing(ClientLink(state, role="client", file=str(path), port=server.port, **values)) as link:
        yield link


def mrdFile(path, volumes, text=None):
    """Write an MRD file with the package ismrmrd: volumes of one series after the other."""
    with ismrmrd.Dataset(str(path)) as dataset:
        if text:
            dataset.write_xml_header(text.encode())
        for series, numbers in volumes.items():
            for number in numbers:
                pixels = phantom(number, dtype=np.complex64 if series == 2 else np.int16)
                for k in range(3):
                    made = image(
                        pixels[k],
                        index=k,
                        count=3,
                        repetition=number,
                        image_series_index=series,
                        meta={"Comment": f"ü <{number}>"},
                    )
                    dataset.append_image(f"image_{series}", made)
    return path


def test_an_mrd_file_comes_back_whole(tmp_path):
    path = mrdFile(tmp_path / "run.h5", {1: [1, 2], 2: [3], 10: [4]}, header(3))
    with client(tmp_path, path, Server(), config="my program") as link:
        assert link.finish().level == "info"
        assert link.streams() == ["gre 1", "gre 1", "gre 2", "gre 10"]
        for number, arrival in enumerate(link.arrivals, 1):
            np.testing.assert_array_equal(arrival.image.pixels, phantom(number))
            np.testing.assert_allclose(frameWorldPoints(arrival.image), worldPoints(3, 5, 7), atol=1e-4)
            assert arrival.image.attributes["Comment"] == f"ü <{number}>"
        assert "12 images sent, back: 12 images received" in link.source.status


def test_an_image_that_contradicts_its_header_is_named_and_the_others_are_sent(tmp_path):
    path = mrdFile(tmp_path / "run.h5", {1: [1, 2]}, header(3))
    with h5py.File(path, "r+") as file:
        heads = next(iter(file.values()))["image_1/header"]
        head = heads[1]
        head["matrix_size"] = 7, 5, 9
        heads[1] = head
    with client(tmp_path, path, Server()) as link:
        link.finish()
        (event,) = link.codes("not-sent")
        assert "Image 2 of " in event.text
        assert "in run.h5 is not sent: It has 35 values, but its header declares 1 x 9 x 5 x 7." in event.text
        assert "5 images sent, back: 5 images received" in link.source.status


def test_the_server_gets_configuration_header_and_images_as_they_are(tmp_path):
    path = mrdFile(tmp_path / "run.h5", {1: [1]}, header(3))
    server = Server()
    with client(tmp_path, path, server, config="my program") as link:
        link.finish()
    assert server.config == "my program"
    assert server.header.measurementInformation.protocolName == "gre"
    with ismrmrd.Dataset(str(path), mode="r") as dataset:
        stored = [dataset.read_image("image_1", index) for index in range(3)]
    for one, sent in zip(server.images, stored, strict=True):
        assert bytes(one.getHead())[:-4] == bytes(sent.getHead())[:-4]
        assert (one.data == sent.data).all()
        assert one.meta == sent.meta


def test_an_mrd_file_without_a_header_gets_one(tmp_path):
    path = mrdFile(tmp_path / "run.h5", {0: [1, 2]})
    server = Server()
    with client(tmp_path, path, server) as link:
        link.finish()
        assert link.streams() == ["run", "run"]
    assert server.header.encoding[0].reconSpace.matrixSize.x == 7


def test_what_the_server_makes_is_shown(tmp_path):
    def inverted(one):
        one.data[:] = 1000 - one.data
        one.image_series_index = 5
        return one

    path = mrdFile(tmp_path / "run.h5", {1: [1]}, header(3))
    with client(tmp_path, path, Server(inverted)) as link:
        link.finish()
        assert link.streams() == ["gre 5"]
        np.testing.assert_array_equal(link.arrivals[0].image.pixels, 1000 - phantom(1).astype(np.int16))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.uint32, np.float32, np.float64])
def test_volumes_of_a_nifti_file_keep_values_and_place(tmp_path, dtype):
    volumes = [(phantom(number, 4) % 250).astype(dtype) for number in range(3)]
    path = tmp_path / "fmri.nii.gz"
    nibabel.Nifti1Image(np.stack(volumes).T, AFFINE).to_filename(path)
    with client(tmp_path, path, Server()) as link:
        link.finish()
        assert link.streams() == 3 * ["fmri"]
        for arrival, pixels in zip(link.arrivals, volumes, strict=True):
            assert arrival.image.pixels.dtype == (np.uint16 if dtype == np.uint8 else dtype)
            np.testing.assert_array_equal(arrival.image.pixels, pixels)
            np.testing.assert_allclose(arrival.image.ijkToRAS, AFFINE, atol=1e-4)


def test_a_folder_is_sent_in_natural_order_and_what_is_no_image_is_named(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    pictures = [np.random.default_rng(number).integers(0, 256, (4, 6, 3), np.uint8) for number in (2, 10)]
    Picture.fromarray(pictures[0]).save(folder / "2.png")
    Picture.fromarray(pictures[1]).save(folder / "10.png")
    (folder / "11.nrrd").write_text("nothing")
    with client(tmp_path, folder, Server()) as link:
        link.finish()
        assert len(link.codes("not-sent")) == 1
        assert link.codes("not-sent")[0].subject == str(folder / "11.nrrd")
        for arrival, picture in zip(link.arrivals, pictures, strict=True):
            assert arrival.image.pixels.dtype == np.uint8
            np.testing.assert_array_equal(arrival.image.pixels[0], picture)


def test_slices_that_wait_while_the_process_is_halted_belong_to_their_volume(tmp_path):
    going = threading.Event()

    def answer(one):
        assert one.slice < 2 or going.wait(20)
        return one

    server = Server(answer)
    with client(tmp_path, mrdFile(tmp_path / "run.h5", {0: [1]}), server) as link:
        link.until(lambda: "2 images" in link.source.status.split("Back")[-1])
        for _halt in range(3):
            link.clock.now += 60.0
            link.read()
        going.set()
        link.finish()
        assert [one.image.pixels.shape for one in link.arrivals] == [(3, 5, 7)]


def test_a_missing_file_is_named_and_sent_when_it_comes(tmp_path):
    path = tmp_path / "later.h5"
    with client(tmp_path, path, Server()) as link:
        link.read()
        assert "cannot be read" in link.codes("not-sent")[0].text
        assert str(path) in link.source.status
        mrdFile(path, {0: [1]}, header(3))
        link.clock.now += 2
        link.finish()
        assert len(link.arrivals) == 1
        assert len(link.codes("not-sent")) == 1


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "run.h5"
    path.write_bytes(b"no HDF5")
    with client(tmp_path, path, Server()) as link:
        link.read()
        assert link.codes("not-sent")[0].level == "error"


def test_a_server_that_is_not_there_is_named(tmp_path):
    path = mrdFile(tmp_path / "run.h5", {0: [1]}, header(3))
    state = tmp_path / "state"
    state.mkdir()
    with closing(ClientLink(state, role="client", file=str(path), port=freePort())) as link:
        link.until(lambda: link.codes("no-listener"))
        assert "Is the server running?" in link.source.status


def test_a_server_that_ends_early_is_named(tmp_path):
    volumes = np.stack([phantom(number, 40, 256, 256, np.int16) for number in range(9)])
    path = tmp_path / "long.nii"
    nibabel.Nifti1Image(volumes.T, AFFINE).to_filename(path)
    with client(tmp_path, path, Server(most=45)) as link:
        event = link.finish()
        assert event.level == "warning"
        assert "early" in event.text
        np.testing.assert_array_equal(link.arrivals[0].image.pixels, volumes[0])
        assert [len(one.image.pixels) for one in link.arrivals] == [40, 40]
        assert link.arrivals[1].image.attributes["MRD.missing_slices"] == "35"


def test_a_server_that_breaks_off_is_named_and_not_asked_again(tmp_path):
    path = mrdFile(tmp_path / "run.h5", {0: [1]}, header(3))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        state = tmp_path / "state"
        state.mkdir()
        port = listener.getsockname()[1]
        with closing(ClientLink(state, role="client", file=str(path), port=port)) as link:
            link.read()
            peer, _address = listener.accept()
            link.until(lambda: link.codes("connected"))
            peer.close()
            assert link.finish().level == "warning"
            link.clock.now += 60
            link.read()
            listener.settimeout(0.05)
            with pytest.raises(TimeoutError):
                listener.accept()


def test_errors_of_the_server_are_shown_with_their_last_line(tmp_path):
    path = mrdFile(tmp_path / "run.h5", {0: [1]}, header(3))
    text = "ERROR    Traceback (most recent call last):\n  File x\nValueError: no coils\n"
    with client(tmp_path, path, Server(lambda one: text)) as link:
        link.finish()
        (event,) = link.codes("server-text")
        assert event.text.endswith("... ValueError: no coils")


def test_settings_ask_for_what_a_client_needs():
    with pytest.raises(SettingsError, match="Choose the file"):
        MRDSettings(role="client")
    with pytest.raises(SettingsError, match="port of the server"):
        MRDSettings(role="client", file="a.h5", port=0)
    with pytest.raises(SettingsError, match="configuration"):
        MRDSettings(role="client", file="a.h5", config=" ")
    assert MRDSettings(role="client", file="a.h5").extraPackages == HDF5_PACKAGES
    assert MRDSettings(role="client", file="a.nii").extraPackages == ()
    assert MRDSettings(file="a.h5").extraPackages == ()
    assert os.path.isabs(MRDSettings(role="client", file="a.h5", host="scanner:9010").file)
    assert MRDSettings(host="0.0.0.0:9010").port == 9010
