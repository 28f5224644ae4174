"""Senders over sockets, with the faults of peers: cut, stalled, reset, garbage, hostile sizes, flipped bits.

An image is confirmed when its receiver answered: OpenIGTLink by the answer to a query after it, HTTP and DICOM by the
answer itself, MRD by the answer to the end of the measurement. Without that, it may have arrived or not.
"""

from __future__ import annotations

import http.client
import io
import json
import logging
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Any

from RealTimeImagingLib.OpenIGTLink import ImageMessage, QueryMessage, pack
from RealTimeImagingLib.Simulator.Images import niftiBytes
from RealTimeImagingLib.Sources.MRD.Protocol import CONFIG_FILE, HEADER, packClose, packText
from RealTimeImagingLib.Sources.MRD.Sending import headerOf, messagesOf

from .Images import volume
from .Plan import Step
from .Senders import PATIENCE, Sender

ANSWER_TIME = 15.0
"""Seconds for an answer; a stopped process takes some."""
CONFIRMED = 4
"""Messages of OpenIGTLink after which the sender asks whether they were taken."""
HEADER_SIZE = 58
"""Bytes of the header of an OpenIGTLink message."""
PIECE = 64
"""Most bytes of a small piece."""


class SocketSender(Sender):
    """Sends over a connection, which it opens again when it breaks.

    :param order: ``port``.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        super().__init__(order)
        self._peer: socket.socket | None = None
        self._sent: list[tuple[int, int, str]] = []
        """Serial number, copies and step of the images that are not confirmed."""

    def _connect(self) -> socket.socket:
        """Return a new connection.

        :raises OSError: the source is not there within PATIENCE.
        """
        end = time.monotonic() + PATIENCE
        while True:
            try:
                made = socket.create_connection(("127.0.0.1", self.order["port"]), 2.0)
                if made.getsockname() != made.getpeername():
                    made.settimeout(ANSWER_TIME)
                    return made
                made.close()
            except OSError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.05)

    @property
    def _link(self) -> socket.socket:
        self._peer = self._peer or self._connect()
        return self._peer

    def broken(self) -> None:
        """Close the connection: what is not confirmed may have arrived or not."""
        if self._peer:
            self._peer.close()
        self._peer = None
        for serial, copies, why in self._sent:
            self.note(serial, 0, copies, why, report="lost")
        self._sent = []

    def _confirmed(self) -> None:
        for serial, copies, why in self._sent:
            self.note(serial, copies, copies, why)
        self._sent = []

    def _reset(self, step: Step) -> None:
        """Send the half of an image, and reset the connection."""
        self._sendHalf(step)
        self._link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.broken()

    def _sendHalf(self, step: Step) -> bytes:
        data = self.bytesOf(step)
        half = self.dice.randrange(1, len(data))
        self._link.sendall(data[:half])
        return data[half:]

    def bytesOf(self, step: Step) -> bytes:
        """Return the bytes of an image as they are sent."""
        raise NotImplementedError

    def _alone(self, data: bytes) -> None:
        """Send foreign bytes over a connection of their own, until the source closes it or for 2 s."""
        with suppress(OSError), self._connect() as peer:
            peer.settimeout(2.0)
            peer.sendall(data)
            while peer.recv(1 << 16):
                pass

    def _garbage(self, step: Step) -> None:
        data = self.dice.choice((b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 700, b""))
        self._alone(data + self.dice.randbytes(self.dice.randrange(3000)))

    def _inPieces(self, data: bytes) -> None:
        # The first and the last bytes one by one, as a bad network may bring them.
        for place in range(0, min(len(data), 20 * PIECE), size := self.dice.randint(1, PIECE)):
            self._link.sendall(data[place : place + size])
            time.sleep(0.002)
        self._link.sendall(data[place + size :])


class OpenIGTLinkSender(SocketSender):
    """A device that connects to the module and sends images.

    :param order: ``device``: name of the device, which is the stream.
    """

    def bytesOf(self, step: Step) -> bytes:
        """Return the message of an image."""
        return self._message(step["serial"], self.order["device"])

    def _message(self, serial: int, device: str) -> bytes:
        image = volume(self.number, serial)
        return pack(ImageMessage(image.pixels, image.ijkToRAS, device_name=device, timestamp=time.time()), version=2)

    def _image(self, step: Step, copies: int = 1) -> None:
        self._sent.append((step["serial"], copies, step["do"]))
        self._link.sendall(self.bytesOf(step) * copies)
        if len(self._sent) >= CONFIRMED:
            self._confirm()

    def _twice(self, step: Step) -> None:
        self._image(step, 2)

    def _stall(self, step: Step) -> None:
        self._sent.append((step["serial"], 1, "stall"))
        rest = self._sendHalf(step)
        time.sleep(step["pause"])
        self._link.sendall(rest)

    def _pieces(self, step: Step) -> None:
        self._sent.append((step["serial"], 1, "pieces"))
        self._inPieces(self.bytesOf(step))

    def _cut(self, step: Step) -> None:
        self._sendHalf(step)
        self._confirmedOrBroken()
        self.note(step["serial"], 0, 0, "cut")

    def _confirmedOrBroken(self) -> None:
        # An image is cut: the source takes all messages before it, then the end of the connection.
        self._link.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            while self._link.recv(1 << 16):
                pass
        self.broken()

    def _hostile(self, step: Step) -> None:
        """Announce a body that nobody can hold."""
        self._confirm()
        size = self.dice.choice((1 << 40, 1 << 62, (1 << 64) - 1))
        data = bytearray(self.bytesOf(step))
        struct.pack_into(">Q", data, 42, size)
        self._alone(bytes(data))
        self.note(step["serial"], 0, 0, "hostile", report="count")

    def _garbage(self, step: Step) -> None:
        super()._garbage(step)
        self.note(step["serial"], 0, 0, "garbage")

    def _flip(self, step: Step) -> None:
        """Flip one bit of the body: its checksum tells."""
        data = bytearray(self.bytesOf(step))
        data[self.dice.randrange(HEADER_SIZE, len(data))] ^= 1 << self.dice.randrange(8)
        self._link.sendall(data)
        if self._confirm():
            self.note(step["serial"], 0, 0, "flip", report="count")
        else:
            self.note(step["serial"], 0, 0, "flip")

    def _second(self, step: Step) -> None:
        """Send over a second connection with the same device, which gets a stream of its own."""
        first, self._peer, sent, self._sent = self._peer, None, self._sent, []
        try:
            self._image(step)
            self._confirm()
        finally:
            self.broken()
            self._peer, self._sent = first, sent

    def _confirm(self) -> bool:
        """Ask for the state of the source: it answers after it has taken all images before."""
        name = f"confirm{self.dice.randrange(1 << 30)}"
        try:
            self._link.sendall(pack(QueryMessage("GET_STATUS", device_name=name), version=2))
            while True:
                header = self._take(HEADER_SIZE)
                _version, kind, device, _time, size, _sum = struct.unpack(">H12s20sQQQ", header)
                self._take(size)
                if kind.startswith(b"STATUS") and device.rstrip(b"\0") == name.encode()[:20]:
                    self._confirmed()
                    return True
        except OSError:
            self.broken()
            return False

    def _take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._link.recv(count - len(data))
            if not more:
                raise ConnectionError("the source has disconnected")
            data += more
        return data

    def finish(self) -> None:
        """Send three images after all faults, until they are confirmed."""
        self.dice.seed(self.number)
        self._confirm()
        for serial in range(self.order["last"], self.order["last"] + 3):
            for _attempt in range(3):
                with suppress(OSError):
                    self._image({"do": "last", "serial": serial})
                    if self._confirm():
                        break
                self.broken()
        self._confirmedOrBroken()


class HTTPSender(SocketSender):
    """A program that posts images.

    :param order: ``token``, ``stream``.
    """

    def _fields(self, serial: int) -> dict[str, str]:
        image = volume(self.number, serial)
        return {
            "Authorization": f"Bearer {self.order['token']}",
            "Content-Type": "application/octet-stream",
            "X-RTI-Stream": self.order["stream"],
            "X-RTI-Shape": json.dumps(image.pixels.shape),
            "X-RTI-DType": "int16",
            "X-RTI-IJKToRAS": json.dumps(image.ijkToRAS.tolist()),
        }

    def _pixels(self, serial: int) -> bytes:
        return volume(self.number, serial).pixels.tobytes()

    def bytesOf(self, step: Step) -> bytes:
        """Return a whole request."""
        body = self._pixels(step["serial"])
        fields = {**self._fields(step["serial"]), "Host": "127.0.0.1", "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST /frame HTTP/1.1\r\n{head}\r\n".encode() + body

    def _post(self, step: Step, fields: dict[str, str], body: Any, least: int = 1, path: str = "/frame") -> int:
        """Post until there is an answer; return its status. Each request without one may have arrived."""
        end, most = time.monotonic() + PATIENCE, 0
        while True:
            link = http.client.HTTPConnection("127.0.0.1", self.order["port"], timeout=ANSWER_TIME)
            try:
                link.request("POST", path, body() if callable(body) else body, fields)
                status = link.getresponse().status
                if status in (429, 503) and time.monotonic() < end:
                    time.sleep(0.05)
                    continue
                taken = status == 200
                self.note(step["serial"], least * taken, most + taken, step["do"], report="" if taken else "answer")
                return status
            except TimeoutError:
                self.note(step["serial"], 0, most + 1, step["do"], unanswered=True)
                return 0
            except (OSError, http.client.HTTPException):
                # A connection that was refused brought nothing; any other may have.
                most += 1
                if time.monotonic() > end:
                    self.note(step["serial"], 0, most, step["do"], report="lost")
                    return 0
                time.sleep(0.05)
            finally:
                link.close()

    def _image(self, step: Step) -> None:
        self._post(step, self._fields(step["serial"]), self._pixels(step["serial"]))

    def _twice(self, step: Step) -> None:
        self._image(step)
        self._image(step)

    def _file(self, step: Step) -> None:
        fields = {name: self._fields(0)[name] for name in ("Authorization", "X-RTI-Stream")}
        self._post(step, {**fields, "X-RTI-Name": "a.nii"}, niftiBytes(volume(self.number, step["serial"])))

    def _chunks(self, step: Step) -> None:
        data = self._pixels(step["serial"])
        size = self.dice.randint(1000, 9000)

        def chunks() -> Any:
            return (data[place : place + size] for place in range(0, len(data), size))

        self._post(step, {**self._fields(step["serial"]), "Transfer-Encoding": "chunked"}, chunks)

    def _flip(self, step: Step) -> None:
        """Flip one bit in the header of a file: another image, or none."""
        data = bytearray(niftiBytes(volume(self.number, step["serial"])))
        # The sizes and types of the voxels; elsewhere the image would stay as it is.
        data[self.dice.choice((0, 1, 40, 42, 44, 46, 70, 72, 344, 345))] ^= 1 << self.dice.randrange(8)
        fields = {name: self._fields(0)[name] for name in ("Authorization", "X-RTI-Stream")}
        self.write(wild=3)
        self._post({**step, "do": "flip"}, {**fields, "X-RTI-Name": "a.nii"}, bytes(data), least=0)

    def _token(self, step: Step) -> None:
        fields = {**self._fields(step["serial"]), "Authorization": "Bearer of a wrong token"}
        if self._post(step, fields, self._pixels(step["serial"]), least=0) == 200:
            self.write(fault="an image with a wrong token was taken")

    def _hostile(self, step: Step) -> None:
        size = self.dice.choice(("1099511627776", str(1 << 62), "9" * 400, "-1", "1e9"))
        data = self.bytesOf(step)
        head, _blank, body = data.partition(b"\r\n\r\n")
        self._alone(head.partition(b"Content-Length")[0] + f"Content-Length: {size}\r\n\r\n".encode() + body)
        self.note(step["serial"], 0, 0, "hostile", report="count")

    def _cut(self, step: Step) -> None:
        self._sendHalf(step)
        self.broken()
        self.note(step["serial"], 0, 0, "cut")

    def _stall(self, step: Step) -> None:
        self._peer = self._connect()
        rest = self._sendHalf(step)
        time.sleep(step["pause"])
        self._link.sendall(rest)
        self._answer(step)

    def _pieces(self, step: Step) -> None:
        self._peer = self._connect()
        self._inPieces(self.bytesOf(step))
        self._answer(step)

    def _answer(self, step: Step) -> None:
        try:
            words = self._link.recv(1 << 16)
        except TimeoutError:
            self.note(step["serial"], 0, 1, step["do"], unanswered=True)
            words = b""
        except OSError:
            words = b""
        taken = b" 200 " in words[:20]
        self.note(step["serial"], int(taken), 1, step["do"], report="" if taken else "lost")
        self.broken()

    def finish(self) -> None:
        """Send three images after all faults."""
        for serial in range(self.order["last"], self.order["last"] + 3):
            self._image({"do": "last", "serial": serial})


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
        self._entity.acse_timeout = self._entity.dimse_timeout = self._entity.network_timeout = ANSWER_TIME
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
            elif time.monotonic() > end:
                raise ConnectionError("the receiver takes no association")
            else:
                time.sleep(0.1)
        return self._association

    def _store(self, one: Any) -> bool:
        """Store a slice, again after each broken association; return whether the receiver has it."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
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
        stored = [self._store(one) for one in slices]
        self.note(step["serial"], int(all(stored)), 1, step["do"], report="" if all(stored) else "answer")

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
        for one in slices[: len(slices) // 2]:
            self._store(one)
        self.broken()
        self.note(step["serial"], 0, 1, "abort", partial=True)

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
        from RealTimeImagingLib.Sources.MRD.Protocol import IMAGE

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


class SteadySender(OpenIGTLinkSender):
    """A device that sends images at a rate, and nothing else.

    :param order: ``count``, ``rate`` in images/s.
    """

    def finish(self) -> None:
        """Send all images."""
        self.dice.seed(self.number)
        began = time.monotonic()
        for serial in range(self.order["count"]):
            time.sleep(max(0.0, began + serial / self.order["rate"] - time.monotonic()))
            self._link.sendall(self._message(serial, self.order["device"]))
        self._confirm()
        self._confirmedOrBroken()


SENDERS = {
    "openigtlink": OpenIGTLinkSender,
    "http": HTTPSender,
    "dicom": DICOMSender,
    "mrd": MRDSender,
    "steady": SteadySender,
}
"""Senders by the kind of source."""
