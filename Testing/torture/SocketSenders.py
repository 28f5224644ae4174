"""Senders over sockets, with the faults of peers: cut, stalled, reset, garbage, hostile sizes, flipped bits.

An image is confirmed when its receiver has answered: OpenIGTLink by the answer to a query after it, HTTP by the answer
itself. Without that, it may have arrived or not.
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
import time
from contextlib import suppress
from typing import Any

from RealTimeImagingLib.OpenIGTLink import ImageMessage, QueryMessage, pack
from RealTimeImagingLib.Simulator.Images import niftiBytes

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
        self._answerTime = order.get("answerTime", ANSWER_TIME)
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
                    made.settimeout(self._answerTime)
                    return made
                made.close()
            except OSError:
                if self.over(end):
                    raise
            time.sleep(0.05)

    def over(self, end: float) -> bool:
        """Return True when the time (monotonic) has come, or the source is stopped for good."""
        return self.stopping.is_set() or time.monotonic() > end

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
            self.note(serial, 0, copies, why, report="lost", partial=True)
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
        # The head arrives in small pieces, as a bad network may bring it.
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

    varied = True
    """Whether some images are larger than the others: each change of the size starts a new part of a recording."""

    def _message(self, serial: int, device: str) -> bytes:
        image = volume(self.number, serial, self.varied)
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
            link = http.client.HTTPConnection("127.0.0.1", self.order["port"], timeout=self._answerTime)
            try:
                link.request("POST", path, body() if callable(body) else body, fields)
                status = link.getresponse().status
                if status in (429, 503) and not self.over(end):
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
                if self.over(end):
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


class SteadySender(OpenIGTLinkSender):
    """A device that sends images at a rate, and nothing else.

    :param order: ``count``, ``rate`` in images/s.
    """

    varied = False

    def finish(self) -> None:
        """Send all images."""
        self.dice.seed(self.number)
        began = time.monotonic()
        for serial in range(self.order["count"]):
            time.sleep(max(0.0, began + serial / self.order["rate"] - time.monotonic()))
            self._link.sendall(self._message(serial, self.order["device"]))
        self._confirm()
        self._confirmedOrBroken()


SENDERS = {"openigtlink": OpenIGTLinkSender, "http": HTTPSender, "steady": SteadySender}
"""Senders by the kind of source."""
