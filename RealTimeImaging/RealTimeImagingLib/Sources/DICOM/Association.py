"""A connection of the storage SCP: its bytes, its association, and the instance that is arriving."""

from __future__ import annotations

import contextlib
import itertools
import math
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...Formats.DICOM.SliceGroup import Instance
from ...Model.Errors import NotAnImageError
from ...Model.Event import Event
from ...Model.Files import reasonOf
from ...Model.Text import textsOf
from .Files import Files, Part, fileMeta

_ = textsOf(__file__)

LARGEST_PDU = 1 << 17
"""Bytes of the largest PDU that senders may send; DCMTK sends no larger ones."""
LARGEST_COMMAND = 1 << 20
"""Bytes of a message outside its data set: they stay in memory."""
LARGEST_REQUEST = 1 << 20
"""Bytes of the largest A-ASSOCIATE-RQ: 128 contexts with 30 transfer syntaxes each take 256 KiB."""
NEGOTIATION = 10.0
"""Seconds from the connection to the complete association request."""
STALLED = 20.0
"""Seconds without a byte in the middle of a PDU after which a connection is closed."""
IDLE = 60.0
"""Seconds without a complete PDU after which an association is aborted."""
_FAREWELL = 10
"""Bytes of an A-ABORT or A-RELEASE-RQ (PS3.8 sections 9.3.6, 9.3.8): not the beginning of an instance."""
_ASSOCIATE_RQ = b"\x01"
"""First byte of an association request (PS3.8 section 9.3.2)."""
_HTTP = (b"GE", b"PO", b"HE", b"OP", b"PU")
_TLS = b"\x16\x03"
VERIFICATION = "1.2.840.10008.1.1"
"""SOP class of C-ECHO (PS3.6 annex A)."""
_CLASS, _FIELD, _DATA_SET, _INSTANCE = 0x0002, 0x0100, 0x0800, 0x1000
"""Elements of group 0000: Affected SOP Class UID, Command Field, Command Data Set Type, Affected SOP Instance UID."""
_C_STORE_RQ, _NO_DATA_SET = 0x0001, 0x0101
"""Command Field and Command Data Set Type (PS3.7 section 9.3.1.1)."""


@dataclass(frozen=True)
class Stored:
    """An instance that is on disk and acknowledged."""

    instance: Instance
    association: int


@dataclass(frozen=True)
class Rejected:
    """The event of an instance that was not stored."""

    event: Event


@dataclass(frozen=True)
class Released:
    """The number of an association that has ended."""

    association: int


Item = Stored | Rejected | Released | Event


class Incoming:
    """An instance that is arriving, or the error that prevents its storage."""

    def __init__(self, part: Part | None, error: Exception | None = None) -> None:
        self._part, self._error = part, error

    def write(self, data: memoryview) -> None:
        """Append bytes of the data set, unless an error has happened."""
        if self._part and not self._error:
            try:
                self._part.write(data)
            except OSError as error:
                self._error = error

    def complete(self) -> None:
        """Begin to wait for the disk, unless an error has happened: no byte follows."""
        if self._part and not self._error:
            self._part.complete()

    def store(self, files: Files) -> Instance:
        """Name the complete file.

        :raises NotAnImageError: the data set is damaged.
        :raises OSError: the file cannot be stored.
        """
        if self._error:
            raise self._error
        if not self._part:
            raise NotAnImageError(_("There is no data set."), "damaged")
        return files.store(self._part, self._part.header())

    def discard(self) -> None:
        """Remove the incomplete file."""
        if self._part:
            self._part.discard()


@dataclass
class AssociationState:
    """A connection with its association, from the connection to the end.

    :param association: of pynetdicom. :param connection: its socket. :param peer: its address, for people.
    :param limit: bytes that the request, later a message, may have; ``taken``: bytes of it that have arrived.
    :param unspooled: bytes of the message that no file has taken.
    :param heard: time of the last complete PDU, monotonic seconds.
    :param accessed: time at which an access to the folder began, monotonic seconds; infinite when none is under way.
    :param admitted: the association counts for the limit of associations.
    :param sent: instances that the peer wanted to store; ``echoes``: its C-ECHO requests.
    """

    number: int
    association: Any
    connection: socket.socket
    peer: str
    limit: int = LARGEST_REQUEST
    taken: int = 0
    unspooled: int = 0
    heard: float = field(default_factory=time.monotonic)
    accessed: float = math.inf
    requested: bool = False
    admitted: bool = False
    sent: int = 0
    stored: int = 0
    duplicates: int = 0
    echoes: int = 0
    _beginning: bytes = b""
    _command: bytes = b""
    _incoming: Incoming | None = None
    _complete: dict[bytes, Incoming] = field(default_factory=dict)
    _tokens: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def caller(self) -> str:
        """AE title and address of the sender."""
        title = str(getattr(self.association.requestor, "ae_title", "") or "").strip()
        return f"{title} ({self.peer})" if title else self.peer

    @property
    def isOver(self) -> bool:
        """Whether the thread of the association has started and ended."""
        try:
            self.association.join(0)
        except RuntimeError:  # not started yet
            return False
        return not self.association.is_alive()

    def receive(self, size: int) -> bytearray:
        """Read exactly ``size`` bytes, or fewer when the peer disconnects.

        :raises OSError: the message is too large or too slow, or no association request.
        """
        if self.taken + size > self.limit or self.unspooled > LARGEST_COMMAND:
            self.taken += size
            raise ConnectionAbortedError
        # A lying length must take no memory: more is taken as it arrives.
        data, got = bytearray(min(size, LARGEST_PDU)), 0
        end = time.monotonic() + (IDLE if self.requested else NEGOTIATION)
        while got < size:
            if time.monotonic() > end:
                raise TimeoutError
            if got == len(data):
                data += bytes(min(got, size - got))
            with memoryview(data) as view:
                count = self.connection.recv_into(view[got:])
            if not count:
                break
            if hasattr(socket, "TCP_QUICKACK"):
                # Many senders write a message in two pieces and, without TCP_NODELAY, wait for the first to be
                # acknowledged. Linux would delay that by 40 ms each time, and forgets this option as often.
                self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            if not self.requested and len(self._beginning) < len(_TLS):
                self._beginning += data[got : got + count]
                if not self._beginning.startswith(_ASSOCIATE_RQ):
                    raise ConnectionAbortedError
            got += count
            self.taken += count
        return data if got == size else data[:got]

    def spool(self, pdu: Any, files: Files) -> None:
        """Write the data set of an instance to its file while it arrives.

        pynetdicom keeps a short token instead, by which :meth:`take` finds the file again.
        """
        self.heard = time.monotonic()
        for item in getattr(pdu, "presentation_data_value_items", ()):
            data = item.presentation_data_value
            if not data:
                continue
            # PS3.8 annex E.2: bit 0 marks a command, bit 1 the last fragment.
            isCommand, isLast = data[0] & 1, data[0] & 2
            if isCommand or not self._incoming:
                self.unspooled += len(data)
            if isCommand:
                self._command += data[1:]
                if isLast:
                    if self._incoming:
                        self._incoming.discard()
                    command, self._command, self._incoming = self._command, b"", None
                    self._incoming = self._begin(command, item.presentation_context_id, files)
            elif self._incoming:
                self._incoming.write(memoryview(data)[1:])
                token = b""
                if isLast:
                    self._incoming.complete()
                    token = b"%d" % next(self._tokens)
                    self._complete[token], self._incoming = self._incoming, None
                item.presentation_data_value = data[:1] + token

    @contextlib.contextmanager
    def accessing(self) -> Iterator[None]:
        """Note an access to the folder, whose drive may hang."""
        self.accessed = time.monotonic()
        try:
            yield
        finally:
            self.accessed = math.inf

    def take(self, request: Any) -> Incoming:
        """Return the complete instance of a C-STORE request."""
        token = request.DataSet.getvalue() if request.DataSet else b""
        return self._complete.pop(token, None) or Incoming(None)

    def disconnect(self) -> None:
        """End the connection; the threads of pynetdicom notice."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def discard(self) -> None:
        """Close the connection and remove incomplete files."""
        self.connection.close()
        for one in (self._incoming, *self._complete.values()):
            if one:
                one.discard()

    def lastItems(self, sizeLimit: int) -> list[Item]:
        """Return what the end of the connection means: the end of its association, and events."""
        items: list[Item] = [Released(self.number)]
        if self.duplicates:
            text = _("{duplicates:,} of {stored:,} instances of {caller} were stored before already.")
            text = text.format(duplicates=self.duplicates, stored=self.stored, caller=self.caller)
            items.append(Event("duplicate", text, subject=self.peer))
        if not self.requested:
            return items + self._noRequest()
        if self.association.is_released or self.association.is_rejected:
            return items + self._withoutImages()
        if self.unspooled > LARGEST_COMMAND:
            text = _("{caller} sends a command of more than {limit:,} bytes: the connection is closed.")
            text = text.format(caller=self.caller, limit=LARGEST_COMMAND)
            return [*items, Rejected(Event("too-large", text, "warning", self.peer))]
        if self.taken > self.limit:
            text = _(
                "{caller} sends an instance of more than {limit:,} bytes: the connection is closed. Raise Largest file."
            )
            text = text.format(caller=self.caller, limit=sizeLimit)
            return [*items, Rejected(Event("too-large", text, "warning", self.peer))]
        if self.taken > _FAREWELL:
            text = _("{caller} disconnected in the middle of an instance, which is not stored. Send it again.")
            return [*items, Rejected(Event("sender-lost", text.format(caller=self.caller), "warning", self.peer))]
        text = _("{caller} disconnected without a release; {stored:,} of its instances are stored.")
        if time.monotonic() - self.heard >= IDLE:
            text = _("{caller} sent nothing for {seconds:.0f} s; {stored:,} of its instances are stored.")
        text = text.format(caller=self.caller, stored=self.stored, seconds=IDLE)
        return [*items, Event("sender-gone", text, "warning", self.peer)]

    def _withoutImages(self) -> list[Item]:
        if self.sent or self.association.is_rejected:
            return []
        if self.echoes:
            text = _("{caller} tested the connection (C-ECHO). The connection works; no image was sent yet.")
            return [Event("echo", text.format(caller=self.caller), subject=self.peer)]
        if all(one.abstract_syntax == VERIFICATION for one in self.association.accepted_contexts):
            return []  # the sender was told that nothing else is accepted
        text = _("{caller} connected and disconnected without sending an image. Send a series from there.")
        return [Event("no-image", text.format(caller=self.caller), "warning", self.peer)]

    def _begin(self, encoded: bytes, contextID: int, files: Files) -> Incoming | None:
        command = _valuesOf(encoded)
        field, dataSet = (int.from_bytes(command.get(one, b""), "little") for one in (_FIELD, _DATA_SET))
        if field != _C_STORE_RQ or dataSet == _NO_DATA_SET:
            return None
        try:
            syntaxes = {one.context_id: one.transfer_syntax[0] for one in self.association.accepted_contexts}
            meta = fileMeta(command.get(_CLASS, b""), command.get(_INSTANCE, b""), syntaxes[contextID])
            return Incoming(files.receive(meta, syntaxes[contextID]))
        except OSError as error:
            return Incoming(None, error)
        except (KeyError, ValueError) as error:
            text = _("The C-STORE command cannot be read: {reason}.").format(reason=reasonOf(error))
            return Incoming(None, NotAnImageError(text, "damaged"))

    def _noRequest(self) -> list[Item]:
        if self._beginning[:2] in _HTTP:
            text = _("A web browser connected from {peer}; this port speaks DICOM.")
        elif self._beginning.startswith(_TLS):
            text = _("{peer} connected with TLS, which this receiver does not support: turn TLS off at the sender.")
        elif self._beginning:
            text = _("{peer} sent no complete DICOM association request: the connection is closed. Check its settings.")
        elif time.monotonic() - self.heard >= NEGOTIATION:
            text = _("{peer} connected and sent nothing for {seconds:.0f} s: the connection is closed.")
            text = text.format(peer=self.peer, seconds=NEGOTIATION)
            return [Event("peer-silent", text, "warning", self.peer)]
        else:
            return []  # a test whether the port is open
        return [Event("not-dicom", text.format(peer=self.peer), "warning", self.peer)]


def _valuesOf(command: bytes) -> dict[int, bytes]:
    # A command is Implicit VR Little Endian (PS3.7 section 6.3.1).
    values, position = {}, 0
    while position + 8 <= len(command):
        _group, element, length = struct.unpack_from("<HHI", command, position)
        values[element] = command[position + 8 : position + 8 + length]
        position += 8 + length
    return values
