"""Sender of frames that Python makes: pixels go to the acquisition process through a ring, headers in messages.

The main thread copies into a free slot and returns. When all slots are taken, frames wait here as copies; beyond a
limit, push() raises. A slot is reused when its frame is taken. A replacement of a dead process gets the frames that the
dead process had not taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..Link.Commands import Command, Push
from ..Link.Messages import FrameHeader, Taken
from ..Link.Ring import PUSH_RING, RingWriter
from ..Model.Errors import PushError, RingError
from ..Model.Frame import Frame, Image

QUEUE_FRAMES = 64
"""Most frames that wait for a slot."""
QUEUE_BYTES = 512 << 20
"""Most bytes of frames that wait for a slot; one frame may wait whatever its size."""


@dataclass(frozen=True)
class _Waiting:
    command: Command
    startup: list[Command]
    """Startup commands of a process that is started after this command."""


class PushSender:
    """Sender of frames, and of commands that keep their place among them. Main thread only.

    :param folders: the working folders.
    :param send: sends a command to the process, if there is one.
    :param onLost: called with a sentence for each accepted frame that cannot be delivered.
    :param startupCommands: returns the startup commands of a process that is started now.
    """

    def __init__(
        self,
        folders: list[str],
        send: Callable[[Command], None],
        onLost: Callable[[str], None],
        startupCommands: Callable[[], list[Command]] = list,
    ) -> None:
        self._ring = RingWriter(folders, PUSH_RING)
        self._send, self._onLost, self._startupCommands = send, onLost, startupCommands
        self._startup = startupCommands()
        self._sent: deque[Push] = deque()
        self._waiting: deque[Frame | _Waiting] = deque()
        self._frames = self._bytes = self._number = 0
        self._listening = False
        self.pushed = 0
        """Number of accepted frames."""
        self.lost = 0
        """Number of accepted frames that were lost, each of them reported."""

    @property
    def pending(self) -> int:
        """Number of accepted frames that the process has not taken yet."""
        return self._frames + len(self._sent)

    def room(self, nbytes: int) -> bool:
        """Return whether a frame of this size would be accepted now."""
        return not self._frames or (self._frames < QUEUE_FRAMES and self._bytes + nbytes <= QUEUE_BYTES)

    def push(self, stream: str, image: Image, receiveTime: float) -> None:
        """Accept a frame: copy its pixels into a slot, or keep a copy until a slot is free.

        :raises PushError: too many frames wait.
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

    def send(self, command: Command) -> None:
        """Send a command after the frames before it are taken: "stopRecording" must not overtake them."""
        self._waiting.append(_Waiting(command, self._startupCommands()))
        self._pump()

    def startupCommands(self) -> list[Command]:
        """Return the startup commands of a process: those before the oldest frame that is not taken yet."""
        if not any(isinstance(item, _Waiting) for item in self._waiting):
            self._startup = self._startupCommands()
        return self._startup

    def resend(self) -> None:
        """Send all frames that are not taken: a process is ready."""
        self._listening = True
        for push in self._sent:
            self._send(push)

    def take(self, message: Taken) -> None:
        """Take which frames the process has taken."""
        while self._sent and self._sent[0].frame.number <= message.taken:
            self._ring.release(*self._sent.popleft().place.key)
        if message.problem:
            self._lose(message.problem)
        self._pump()

    def close(self) -> None:
        """Release the memory."""
        self._ring.close()
        self._sent.clear()
        self._waiting.clear()
        self._frames = self._bytes = 0

    def _pass(self, frame: Frame) -> bool:
        place = self._ring.put(frame.pixels)
        if place is None:
            return False
        # Number it here and not when it was accepted: a lost frame leaves no gap.
        push = Push(FrameHeader.of(replace(frame, number=self._number)), place)
        self._sent.append(push)
        self._number += 1
        if self._listening:
            self._send(push)
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
                self._send(item.command)
                self._startup = item.startup
            self._waiting.popleft()

    def _lose(self, why: str) -> None:
        self.lost += 1
        self._onLost(f"A pushed image is lost: {why}")
