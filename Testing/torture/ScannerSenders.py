"""Senders of slices, DICOM and MRD, with the faults of scanners and of the network.

A volume is confirmed over DICOM when all its slices are, over MRD by the answer to the end of the measurement.
"""

from __future__ import annotations

import io
import logging
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Any

from RealTimeImagingLib.Sources.MRD.Protocol import CONFIG_FILE, HEADER, IMAGE, packClose, packText
from RealTimeImagingLib.Sources.MRD.Sending import headerOf, messagesOf

from .Images import volume
from .Plan import Step
from .Senders import PATIENCE
from .SocketSenders import SocketSender


class DICOMSender(SocketSender):
    """A scanner that stores slices; a volume is confirmed when all its slices are.

    :param order: ``title`` of the receiver.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        super().__init__(order)
        from pynetdicom import AE, _config
        from RealTimeImagingLib.Simulator.Slices import MR, SYNTAX, SliceSeries

        _config.LOG_HANDLER_LEVEL = "none"
        for name in ("pynetdicom", "pydicom"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._entity = AE(ae_title="TORTURE")
        self._entity.acse_timeout = self._entity.dimse_timeout = self._entity.network_timeout = self._answerTime
        self._entity.add_requested_context(MR, SYNTAX)
        self._series = SliceSeries()
        self._association: Any = None

    def _slices(self, serial: int) -> list[Any]:
        image = volume(self.number, serial, varied=False)
        return list(self._series.slices(image.pixels, image.ijkToRAS, serial))

    def _associated(self) -> Any:
        from RealTimeImagingLib.Simulator.StoringScanner import keepAnswers

        end = time.monotonic() + PATIENCE
        while not (self._association and self._association.is_established):
            self._association = self._entity.associate("127.0.0.1", self.order["port"], ae_title=self.order["title"])
            if self._association.is_established:
                keepAnswers(self._association)
            elif self.over(end):
                raise ConnectionError("the receiver takes no association")
            else:
                time.sleep(0.1)
        return self._association

    def _store(self, one: Any) -> bool:
        """Store a slice, again after each broken association; return whether the receiver has it."""
        end = time.monotonic() + PATIENCE
        while not self.over(end):
            try:
                answer = self._associated().send_c_store(one)
            except (RuntimeError, ValueError):
                continue  # the association has just ended
            if "Status" in answer:
                return bool(answer.Status == 0)
            self.broken()
        return False

    def broken(self) -> None:
        """Give up the association."""
        if self._association and self._association.is_established:
            self._association.abort()
        self._association = None

    def _volume(self, step: Step, slices: list[Any]) -> None:
        began = time.monotonic()
        try:
            stored = [self._store(one) for one in slices]
        except ConnectionError:
            # The receiver was stopped, and has what it stored until then.
            self.note(step["serial"], 0, 1, step["do"], partial=True)
            raise
        whole = all(stored)
        report = "" if whole else "answer"
        self.note(step["serial"], int(whole), 1, step["do"], report=report, began=began, partial=not whole)

    def _image(self, step: Step) -> None:
        self._volume(step, self._slices(step["serial"]))

    def _shuffle(self, step: Step) -> None:
        slices = self._slices(step["serial"])
        self.dice.shuffle(slices)
        self._volume(step, slices)

    def _twice(self, step: Step) -> None:
        """Store each slice twice: the receiver shows one image."""
        self._volume(step, [one for one in self._slices(step["serial"]) for _copy in range(2)])

    def _release(self, step: Step) -> None:
        if self._association and self._association.is_established:
            self._association.release()
        self._association = None

    def _abort(self, step: Step) -> None:
        """Abort the association in the middle of a volume, whose other slices never come."""
        slices = self._slices(step["serial"])
        self.note(step["serial"], 0, 1, "abort", partial=True)
        for one in slices[: len(slices) // 2]:
            self._store(one)
        self.broken()

    def _garbage(self, step: Step) -> None:
        super()._garbage(step)
        self.note(step["serial"], 0, 0, "garbage")

    def _hostile(self, step: Step) -> None:
        """Announce a PDU of 4 GB."""
        self._alone(struct.pack(">BBI", self.dice.choice((1, 4)), 0, 0xFFFFFFF0) + bytes(500))
        self.note(step["serial"], 0, 0, "hostile")

    def _stall(self, step: Step) -> None:
        """Connect, say nothing, and go on with an image meanwhile."""
        with self._connect():
            self._image(step)

    def _damage(self, step: Step) -> None:
        """Store a slice whose pixels are too few."""
        one = self._slices(step["serial"])[0]
        one.PixelData = one.PixelData[: self.dice.randrange(2, len(one.PixelData) // 2) // 2 * 2]
        one["PixelData"].VR = "OW"
        taken = self._store(one)
        self.note(step["serial"], 0, 0, "damage", report="event" if taken else "answer")

    def finish(self) -> None:
        """Store three volumes after all faults."""
        for serial in range(self.order["last"], self.order["last"] + 3):
            self._image({"do": "last", "serial": serial})
        self._release({})


class MRDSender(SocketSender):
    """A scanner that streams measurements over MRD; the answer to the end of one confirms its images."""

    def __init__(self, order: dict[str, Any]) -> None:
        super().__init__(order)
        self._images = 0
        self._closed = threading.Event()
        self._reader: threading.Thread | None = None

    def _connect(self) -> socket.socket:
        made = super()._connect()
        self._images, self._closed = 0, threading.Event()
        self._reader = threading.Thread(target=self._read, args=(made, self._closed), daemon=True)
        self._reader.start()
        header = headerOf(volume(self.number, 0, varied=False), "Torture")
        made.sendall(packText(CONFIG_FILE, "null") + packText(HEADER, header))
        return made

    @staticmethod
    def _read(peer: socket.socket, closed: threading.Event) -> None:
        # The receiver may send the images back; its last message is the end of the measurement.
        last = b""
        with suppress(OSError):
            peer.settimeout(PATIENCE)
            while data := peer.recv(1 << 16):
                last = (last + data)[-2:]
        if last == packClose():
            closed.set()

    def bytesOf(self, step: Step) -> bytes:
        """Return the messages of the slices of an image."""
        image, buffers = volume(self.number, step["serial"], varied=False), io.BytesIO()
        for message in messagesOf(image, step["serial"], self._images, 0.0):
            for one in message.buffers():
                buffers.write(one)
            self._images += 1
        return buffers.getvalue()

    def _image(self, step: Step) -> None:
        link = self._link
        self._sent.append((step["serial"], 1, step["do"]))
        link.sendall(self.bytesOf(step))

    def _stall(self, step: Step) -> None:
        link = self._link
        self._sent.append((step["serial"], 1, "stall"))
        rest = self._sendHalf(step)
        time.sleep(step["pause"])
        link.sendall(rest)

    def _pieces(self, step: Step) -> None:
        data = self._link and self.bytesOf(step)
        self._sent.append((step["serial"], 1, "pieces"))
        self._inPieces(data)

    def _close(self, step: Step) -> None:
        """End the measurement."""
        if self._peer is None:
            return
        with suppress(OSError):
            self._peer.sendall(packClose())
        if self._reader:
            self._reader.join(PATIENCE)
        if self._closed.is_set():
            self._confirmed()
        self.broken()

    def _cut(self, step: Step) -> None:
        self._link.sendall(b"")
        self._sendHalf(step)
        with suppress(OSError):
            self._link.shutdown(socket.SHUT_WR)
        if self._reader:
            self._reader.join(PATIENCE)
        self.broken()
        self.note(step["serial"], 0, 1, "cut", partial=True)

    def _reset(self, step: Step) -> None:
        super()._reset(step)
        self.note(step["serial"], 0, 1, "reset", partial=True)

    def _hostile(self, step: Step) -> None:
        """Announce an image of 65535 x 65535 x 65535 voxels, or attributes of 2^60 bytes."""
        data = bytearray(self.bytesOf(step))
        if self.dice.random() < 0.5:
            struct.pack_into("<3H", data, 2 + 16, 65535, 65535, 65535)
        else:
            data = bytearray(struct.pack("<H", IMAGE) + bytes(data[2:200]) + struct.pack("<Q", 1 << 60) + bytes(100))
        begin = packText(CONFIG_FILE, "null") + packText(HEADER, headerOf(volume(self.number, 0), "Hostile"))
        self._alone(begin + bytes(data))
        self.note(step["serial"], 0, 0, "hostile", report="event")

    def _alone(self, data: bytes) -> None:
        # Without a measurement of its own: plain bytes.
        with suppress(OSError), SocketSender._connect(self) as peer:
            peer.settimeout(2.0)
            peer.sendall(data)
            while peer.recv(1 << 16):
                pass

    def _garbage(self, step: Step) -> None:
        super()._garbage(step)
        self.note(step["serial"], 0, 0, "garbage")

    def finish(self) -> None:
        """Send three images after all faults, in a measurement of their own."""
        self._close({})
        for _attempt in range(3):
            steps = [{"do": "last", "serial": serial} for serial in range(self.order["last"], self.order["last"] + 3)]
            with suppress(OSError):
                for step in steps:
                    self._image(step)
                self._close({})
                if self._closed.is_set():
                    return
            self.broken()


SENDERS = {"dicom": DICOMSender, "mrd": MRDSender}
"""Senders by the kind of source."""
