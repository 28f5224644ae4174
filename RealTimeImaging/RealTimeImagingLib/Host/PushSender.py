"""Sender of frames that Python makes: pixels go to the acquisition process through a ring, headers in messages.

The main thread copies a frame into a free slot and returns; without a free slot, push() raises. A slot is free again
when its frame is taken. Commands follow the frames before them on the same pipe. A replacement of a dead process gets
all frames that are not taken, and the commands between them, in the same order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..Link.Commands import Command, Push
from ..Link.Messages import FrameHeader, Taken
from ..Link.Ring import PUSH_BYTES, PUSH_RING, PUSH_SLOTS, RingWriter
from ..Model.Errors import PushError
from ..Model.Frame import Frame, Image
from ..Model.Text import textsOf

_ = textsOf(__file__)


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
        self._ring = RingWriter(folders, PUSH_RING, PUSH_SLOTS, PUSH_BYTES)
        self._send, self._onLost, self._current = send, onLost, startupCommands
        self._startup = startupCommands()
        self._untaken: deque[tuple[Command, list[Command]]] = deque()
        """Frames that are not taken, and the commands after each of them. A command has with it the startup commands of
        a process that is started after it."""
        self._ready = False
        self.pushed = 0
        """Number of accepted frames."""
        self.taken = 0
        """Number of frames that the process has taken."""
        self.lost = 0
        """Number of accepted frames that were lost, each of them reported."""

    def push(self, stream: str, image: Image, receiveTime: float) -> None:
        """Accept a frame: copy its pixels into a free slot.

        :raises PushError: all slots are taken.
        :raises RingError: no memory can be reserved for a frame of this size.
        """
        place = self._ring.put(image.pixels)
        if place is None:
            text = _(
                "The image for {stream} was rejected. Images that wait for the acquisition process: {count}, as many "
                "as fit. Push more slowly, let Slicer's event loop run in between (slicer.app.processEvents()), or say "
                "how long push may wait (wait=seconds)."
            )
            raise PushError(text.format(stream=stream, count=self.pushed - self.taken))
        attributes = dict(image.attributes)
        frame = Frame(image.pixels, image.ijkToRAS, stream, self.pushed, receiveTime, image.deviceTime, attributes)
        self.pushed += 1
        self._append(Push(FrameHeader.of(frame), place), [])

    def send(self, command: Command) -> None:
        """Send a command after the frames before it: "stopRecording" must not overtake them."""
        self._append(command, self._current())

    def startupCommands(self) -> list[Command]:
        """Return the startup commands of a process: those before the oldest frame that is not taken yet."""
        self._ready = False
        self._forget()
        if all(isinstance(command, Push) for command, _startup in self._untaken):
            self._startup = self._current()
        return self._startup

    def resend(self) -> None:
        """Send all frames that are not taken, and the commands after them: a process is ready."""
        self._ready = True
        for command, _startup in self._untaken:
            self._send(command)
        self._forget()

    def take(self, message: Taken) -> None:
        """Take which frames the process has taken."""
        self.taken = max(self.taken, message.taken + 1)
        self._forget()
        if message.problem:
            self.lost += 1
            self._onLost(_("A pushed image is lost: {reason}").format(reason=message.problem))

    def close(self) -> None:
        """Release the memory."""
        self._ring.close()
        self._untaken.clear()

    def _append(self, command: Command, startup: list[Command]) -> None:
        self._untaken.append((command, startup))
        if self._ready:
            self._send(command)
            self._forget()

    def _forget(self) -> None:
        """Release the slots of taken frames, and forget these and the commands after them."""
        while self._untaken:
            command, startup = self._untaken[0]
            if not isinstance(command, Push):
                self._startup = startup
            elif command.frame.number < self.taken:
                self._ring.release(*command.place.key)
            else:
                return
            self._untaken.popleft()
