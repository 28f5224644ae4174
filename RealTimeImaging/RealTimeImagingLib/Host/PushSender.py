"""Slicer's end of the way into the acquisition process: pixels through a ring, a line for each frame.

The main thread copies into a free slot and returns. When all slots are taken, frames wait here as copies, up to a limit
that is told and not passed in silence. A slot is used again when its frame is taken: what a process had not taken when
it died is sent to the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..Link.Messages import RING_NAME, frameLine
from ..Link.Ring import Place, RingWriter
from ..Model.Errors import PushError, RingError
from ..Model.Frame import Frame, Image

QUEUE_FRAMES = 64
"""Most frames that wait for a slot."""
QUEUE_BYTES = 512 << 20
"""Most bytes of frames that wait for a slot; one frame may wait whatever its size."""


@dataclass(frozen=True)
class _Sent:
    number: int
    place: Place
    line: dict[str, Any]


@dataclass(frozen=True)
class _Command:
    name: str
    values: dict[str, Any]
    standing: list[dict[str, Any]]
    """What a process begins with that is started after this command."""


class PushSender:
    """Sends frames, and commands that keep their place among them. Main thread only.

    :param folders: the working folders.
    :param send: sends a command to the process, if there is one.
    :param onLost: called with a sentence for each frame that was accepted here and cannot be delivered.
    :param orders: gives the commands with which a process begins if it is started now.
    """

    def __init__(
        self,
        folders: list[str],
        send: Callable[..., None],
        onLost: Callable[[str], None],
        orders: Callable[[], list[dict[str, Any]]] = list,
    ) -> None:
        self._ring = RingWriter(folders, RING_NAME)
        self._send, self._onLost, self._orders = send, onLost, orders
        self._standing = orders()
        self._sent: deque[_Sent] = deque()
        self._waiting: deque[Frame | _Command] = deque()
        self._frames = self._bytes = self._number = 0
        self._listening = False
        self.pushed = 0
        """Frames that were accepted."""
        self.lost = 0
        """Accepted frames that were given up, each of them told."""

    @property
    def pending(self) -> int:
        """Accepted frames that the process has not taken yet."""
        return self._frames + len(self._sent)

    def room(self, nbytes: int) -> bool:
        """Whether a frame of so many bytes would be accepted now."""
        return not self._frames or (self._frames < QUEUE_FRAMES and self._bytes + nbytes <= QUEUE_BYTES)

    def push(self, stream: str, image: Image, receiveTime: float) -> None:
        """Accept a frame: its pixels are copied, into a slot or to wait for one.

        :raises PushError: too many wait.
        :raises RingError: no memory can be reserved for a frame of this size.
        """
        frame = Frame(image.pixels, image.ijkToRAS, stream, 0, receiveTime, image.deviceTime, dict(image.attributes))
        nbytes = image.pixels.nbytes
        if self._waiting or not self._pass(frame):
            if not self.room(nbytes):
                raise PushError(
                    f"The image for {stream} is not taken: {self._frames} images ({self._bytes >> 20} MB) wait for the "
                    "acquisition process already. Push more slowly, let Slicer's event loop run in between "
                    "(slicer.app.processEvents()), or say how long push may wait (wait=seconds)."
                )
            self._waiting.append(replace(frame, pixels=image.pixels.copy()))
            self._frames, self._bytes = self._frames + 1, self._bytes + nbytes
        self.pushed += 1

    def send(self, command: str, **values: Any) -> None:
        """Send a command as soon as the frames that were pushed before it are taken: "stopRecording" is not to
        overtake them."""
        self._waiting.append(_Command(command, values, self._orders()))
        self._pump()

    def orders(self) -> list[dict[str, Any]]:
        """The commands with which a process begins: those that counted when the first frame was pushed that has not
        been taken, as what follows is still on its way."""
        if not any(isinstance(item, _Command) for item in self._waiting):
            self._standing = self._orders()
        return self._standing

    def take(self, line: dict[str, Any]) -> None:
        """What the process says: that it listens, or which frames it has taken."""
        if "ready" in line:
            self._listening = True
            for sent in self._sent:
                self._send("push", **sent.line)
        if "taken" in line:
            while self._sent and self._sent[0].number <= line["taken"]:
                self._ring.release(*self._sent.popleft().place.key)
            if line["problem"]:
                self._lose(line["problem"])
            self._pump()

    def close(self) -> None:
        """Let go of the memory."""
        self._ring.close()
        self._sent.clear()
        self._waiting.clear()
        self._frames = self._bytes = 0

    def _pass(self, frame: Frame) -> bool:
        place = self._ring.put(frame.pixels)
        if place is None:
            return False
        # Numbered here and not when it was accepted: one that is given up leaves no gap.
        line = {"frame": {**frameLine(frame), "number": self._number}, "place": place._asdict()}
        self._sent.append(_Sent(self._number, place, line))
        self._number += 1
        if self._listening:
            self._send("push", **line)
        return True

    def _pump(self) -> None:
        while self._waiting:
            item = self._waiting[0]
            if isinstance(item, Frame):
                try:
                    if not self._pass(item):
                        return
                except RingError as error:
                    self._lose(str(error))
                self._frames, self._bytes = self._frames - 1, self._bytes - item.pixels.nbytes
            elif self._sent:
                return
            else:
                self._send(item.name, **item.values)
                self._standing = item.standing
            self._waiting.popleft()

    def _lose(self, why: str) -> None:
        self.lost += 1
        self._onLost(f"An image that was pushed is lost: {why}")
