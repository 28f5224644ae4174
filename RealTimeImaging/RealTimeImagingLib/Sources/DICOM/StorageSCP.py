"""Storage SCP: connections, associations and the instances that they store."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import queue
import selectors
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...Formats.DICOM.Header import readHeader
from ...Formats.DICOM.SliceGroup import Instance
from ...Model.Errors import NotAnImageError
from ...Model.Event import Event
from ..Endpoints import Connected, Listener
from . import DICOMSettings
from .Files import PREAMBLE, Files

_UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
_JPEG = ("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_OTHER_SYNTAXES = (
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
)
"""RLE, HTJ2K (PS3.6 annex A)."""
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_VERIFICATION = "1.2.840.10008.1.1"


def contextsOffered() -> list[Any]:
    """Contexts of pynetdicom; of the transfer syntaxes that a sender proposes for one kind, the first here is taken."""
    from pynetdicom import AllStoragePresentationContexts, build_context

    compressed = [one for one in (*_JPEG, *_JPEG_LS, *_JPEG_2000, *_OTHER_SYNTAXES) if _isDecodable(one)]
    syntaxes = [*_UNCOMPRESSED, *compressed, _BIG_ENDIAN]
    kinds = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    return [build_context(_VERIFICATION), *(build_context(kind, syntaxes) for kind in kinds)]


def _isDecodable(syntax: str) -> bool:
    # As Readers.DICOMDecoding does it; SimpleITK has a decoder in it.
    if syntax not in _OTHER_SYNTAXES and importlib.util.find_spec("SimpleITK"):
        return True
    try:
        from pydicom.pixels import get_decoder
    except ImportError:  # pydicom 2
        import pydicom.config

        return any(
            handler.is_available() and handler.supports_transfer_syntax(syntax)
            for handler in pydicom.config.pixel_data_handlers
        )
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


LARGEST_PDU = 1 << 17
"""Bytes of what senders may send at once; DCMTK sends no more."""
STALLED = 20.0
"""Seconds without a byte in the middle of a message after which the connection is given up."""


class Metered(socket.socket):
    """A connection that ends when a message is larger than it may be.

    ``limit``, ``taken``: bytes of a message, and those of the one that is coming.
    """

    limit = taken = 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = super().recv(size, flags)
        self.taken += len(data)
        if self.taken > self.limit:
            raise ConnectionAbortedError("the message is too large")
        if hasattr(socket, "TCP_QUICKACK"):
            # Many senders write a message in two pieces and, without TCP_NODELAY, wait for the first to be
            # acknowledged: Linux would take 40 ms for that, each time, and forgets this option as often.
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data


def acceptorOf(entity: Any, title: str, connection: Metered, contexts: Sequence[Any]) -> Any:
    """The association, which is to be started.

    :param entity: pynetdicom's, with limits and what it asks of callers. :param title: under which it answers.
    :param contexts: what is offered.
    :raises OSError: the peer is gone.
    """
    from pynetdicom.association import Association
    from pynetdicom.transport import AssociationSocket

    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(STALLED)
    addresses = connection.getsockname()[:2], connection.getpeername()[:2]
    association = Association(entity, "acceptor")
    association.daemon = association.dul.daemon = True
    association.set_socket(AssociationSocket(association, client_socket=connection))
    association.acceptor.maximum_length = LARGEST_PDU
    association.acceptor.ae_title = title
    association.acceptor.implementation_class_uid = entity.implementation_class_uid
    association.acceptor.implementation_version_name = entity.implementation_version_name
    association.acceptor.supported_contexts = contexts
    for user, address in zip((association.acceptor, association.requestor), addresses, strict=True):
        _setAddress(user, address)
    return association


def _setAddress(user: Any, address: tuple[str, int]) -> None:
    try:
        from pynetdicom.transport import AddressInformation
    except ImportError:  # pynetdicom 2
        user.address, user.port = address
        return
    user.address_info = AddressInformation.from_tuple(address)


MOST_WAITING = 64
"""Connections that may stand in the lobby; more are refused."""
SPEECHLESS = 10.0
"""Seconds after which one who says nothing is sent away."""
_ASSOCIATE = 1
"""The first byte of an A-ASSOCIATE-RQ (PS3.8 section 9.3.2), which everybody begins with."""
_LONGEST = 1 << 20
"""Bytes of an A-ASSOCIATE-RQ that is believed: 128 contexts with 30 transfer syntaxes each take 256 KiB."""
_OTHER_PROTOCOLS = {b"\x16": "TLS, which is not understood here", b"G": "HTTP", b"P": "HTTP", b"H": "HTTP"}


class Lobby:
    """Waits for those who connect, for their first words, and for :meth:`wake`.

    :param door: where they come in.
    :param clock: monotonic seconds.
    """

    def __init__(self, door: Listener, clock: Callable[[], float] = time.monotonic) -> None:
        self._door, self._clock = door, clock
        self._waiting: dict[socket.socket, tuple[str, float]] = {}
        self._selector = selectors.DefaultSelector()
        self._heard, self._waking = socket.socketpair()
        for end in (self._heard, self._waking):
            end.setblocking(False)
        self._selector.register(self._heard, selectors.EVENT_READ)
        self._doorSocket: socket.socket | None = None

    @property
    def listening(self) -> bool:
        """Whether somebody can connect."""
        return self._door.socket is not None

    def step(self, seconds: float) -> Iterator[Connected | Event]:
        """Who speaks DICOM, and what happened; waits for so many seconds at most."""
        now = self._clock()
        if now >= self._door.due:
            yield from self._door.open(now)
            self._watchDoor()
        soonest = min((since + SPEECHLESS for _, since in self._waiting.values()), default=math.inf)
        seconds = max(0.0, min(seconds, self._door.due - now, soonest - now))
        for key, _mask in self._selector.select(seconds):
            if key.fileobj is self._heard:
                self._drain()
            elif key.data is None:
                yield from self._welcome()
            else:
                yield from self._listenTo(key.data)
        now = self._clock()
        for connection, (name, since) in list(self._waiting.items()):
            if now - since > SPEECHLESS:
                self._sendAway(connection)
                text = f"{name} connected and said nothing for {SPEECHLESS:.0f} s: the connection is closed."
                yield Event("peer-silent", text, "warning", name)

    def wake(self) -> None:
        """End the waiting of step(), from any thread."""
        try:
            self._waking.send(b"w")
        except OSError:
            pass  # it will wake of what is there already, or is closed

    def close(self) -> None:
        """Close the door and all that stand in the lobby."""
        for connection in list(self._waiting):
            self._sendAway(connection)
        self._door.close()
        self._selector.close()
        self._heard.close()
        self._waking.close()

    def _watchDoor(self) -> None:
        # A closed socket leaves the selector by itself on some systems only.
        if self._doorSocket is not None and self._door.socket is not self._doorSocket:
            try:
                self._selector.unregister(self._doorSocket)
            except (KeyError, ValueError):
                pass
            self._doorSocket = None
        if self._door.socket is not None and self._doorSocket is None:
            self._doorSocket = self._door.socket
            self._selector.register(self._doorSocket, selectors.EVENT_READ)

    def _welcome(self) -> Iterator[Event]:
        for one in self._door.take(self._clock()):
            if isinstance(one, Event):
                yield one
                continue
            connection, name = one
            if len(self._waiting) >= MOST_WAITING:
                connection.close()
                text = f"{name} wanted to connect, and {MOST_WAITING} others wait already."
                yield Event("peer-refused", text, "warning")
                continue
            connection.setblocking(False)
            self._waiting[connection] = (name, self._clock())
            self._selector.register(connection, selectors.EVENT_READ, connection)
        self._watchDoor()

    def _listenTo(self, connection: socket.socket) -> Iterator[Connected | Event]:
        name, _since = self._waiting[connection]
        try:
            words = connection.recv(6, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            words = b""
        if not words:
            # Whoever only wants to know whether the port is open hangs up at once.
            self._sendAway(connection)
        elif words[0] != _ASSOCIATE or int.from_bytes(words[2:], "big") > _LONGEST:
            self._sendAway(connection)
            kind = _OTHER_PROTOCOLS.get(words[:1], "something else")
            yield Event(
                "not-dicom", f"{name} does not speak DICOM but {kind}: the connection is closed.", "warning", name
            )
        else:
            self._selector.unregister(connection)
            del self._waiting[connection]
            yield connection, name

    def _sendAway(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._waiting[connection]
        connection.close()

    def _drain(self) -> None:
        try:
            while self._heard.recv(4096):
                pass
        except BlockingIOError:
            pass


MOST_ASSOCIATIONS = 10
"""Associations at once; more are rejected."""
NEGOTIATION = 10.0
"""Seconds for a peer to say who it is and what it sends."""
IDLE = 60.0
"""Seconds without a word after which an association is given up."""
_FAREWELL = 10
"""Bytes of an A-ABORT or A-RELEASE-RQ (PS3.8 sections 9.3.6, 9.3.8): no beginning of an instance."""
_LAST_WORDS = 1.0
"""Seconds at the end for files that are being written."""
_ENDING = 0.01
"""Seconds from one look at an association that is about to end to the next."""

SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
"""Answers to C-STORE, PS3.4 table B.2-1."""


@dataclass(frozen=True)
class Stored:
    """An instance is on disk, and its sender knows."""

    instance: Instance
    association: int


@dataclass(frozen=True)
class Refused:
    """An instance came and was not taken, and its sender knows."""

    event: Event


@dataclass(frozen=True)
class Released:
    """An association has ended."""

    association: int


Item = Stored | Refused | Released | Event


@dataclass
class _AssociationState:
    """An association, and what is known of it."""

    number: int
    association: Any
    connection: Metered
    peer: str
    tooMany: bool
    stored: int = 0
    again: int = 0

    @property
    def caller(self) -> str:
        """Title and address of the sender."""
        title = str(getattr(self.association.requestor, "ae_title", "") or "").strip()
        return f"{title} ({self.peer})" if title else self.peer


class StorageSCP:
    """Serves associations.

    :param settings: who may send.
    :param files: where instances are kept.
    :param wake: called, from other threads, when there is something in the queue.
    """

    def __init__(self, settings: DICOMSettings, files: Files, wake: Callable[[], None]) -> None:
        from pynetdicom import AE, _config

        # What ends an association is told as an event, in words of ours.
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
        logging.getLogger("pydicom").setLevel(logging.ERROR)
        # pydicom warns of every oddity, here in threads of which each would have to keep it quiet.
        warnings.filterwarnings("ignore", module="pydicom")
        _config.LOG_HANDLER_LEVEL = "none"
        self._settings, self._files, self._wake = settings, files, wake
        self._entity = AE(ae_title=settings.aeTitle)
        # It counts also those that are about to be rejected.
        self._entity.maximum_associations = 4 * MOST_ASSOCIATIONS
        self._entity.maximum_pdu_size = LARGEST_PDU
        self._entity.acse_timeout, self._entity.dimse_timeout, self._entity.network_timeout = NEGOTIATION, IDLE, IDLE
        self._entity.require_called_aet = settings.checkCalled
        self._entity.require_calling_aet = list(settings.callers)
        self._contexts = contextsOffered()
        self._items: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._visits: list[_AssociationState] = []
        self._count = 0

    @property
    def senders(self) -> list[str]:
        """Who is connected."""
        return [visit.caller for visit in self._visits]

    @property
    def patience(self) -> float:
        """Seconds after which :meth:`items` should be asked again."""
        ending = any(visit.association.is_released or visit.association.is_aborted for visit in self._visits)
        return 0.0 if not self._items.empty() else _ENDING if ending else math.inf

    def welcome(self, connected: Connected) -> Iterator[Event]:
        """Serve one who speaks DICOM."""
        from pynetdicom import evt

        plain, peer = connected
        if len(self._visits) >= 2 * MOST_ASSOCIATIONS:
            # Those above MOST_ASSOCIATIONS are told so by the protocol, as long as they are few.
            plain.close()
            yield Event("peer-refused", f"{peer} wanted to connect, and too many others do.", "warning", peer)
            return
        connection = Metered(fileno=plain.detach())
        connection.limit = self._settings.sizeLimit + LARGEST_PDU
        try:
            association = acceptorOf(self._entity, self._settings.aeTitle, connection, self._contexts)
        except OSError:  # it hung up at once
            connection.close()
            return
        # By this name pynetdicom knows those who count for its limit.
        association.name = f"AcceptorThread@{peer}"
        self._count += 1
        visit = _AssociationState(self._count, association, connection, peer, len(self._visits) >= MOST_ASSOCIATIONS)
        association.bind(evt.EVT_C_STORE, self._store, [visit])
        association.bind(evt.EVT_DIMSE_RECV, self._heard, [visit])
        association.bind(evt.EVT_REQUESTED, self._requested, [visit])
        association.bind(evt.EVT_CONN_CLOSE, self._hungUp)
        association.bind(evt.EVT_ACCEPTED, self._accepted, [visit])
        association.bind(evt.EVT_REJECTED, self._rejected, [visit])
        for kind in (evt.EVT_RELEASED, evt.EVT_ABORTED):
            association.bind(kind, self._ends)
        self._visits.append(visit)
        association.start()

    def items(self) -> Iterator[Item]:
        """What came since the last call."""
        over = [visit for visit in self._visits if not visit.association.is_alive()]
        # What they stored is in the queue by now.
        while True:
            try:
                yield self._items.get_nowait()
            except queue.Empty:
                break
        for visit in over:
            visit.connection.close()
            self._visits.remove(visit)
            yield from self._parted(visit)

    def close(self) -> None:
        """End all associations; files that are being written get the time for it."""
        for visit in self._visits:
            with contextlib.suppress(OSError):
                visit.connection.shutdown(socket.SHUT_RDWR)
        end = time.monotonic() + _LAST_WORDS
        for visit in self._visits:
            visit.association.join(max(0.0, end - time.monotonic()))
            visit.connection.close()
        self._visits.clear()

    def put(self, item: Item) -> None:
        """Into the queue, from any thread."""
        self._items.put(item)
        self._wake()

    # ---- called by the threads of pynetdicom

    def _store(self, event: Any, visit: _AssociationState) -> Any:
        name = str(event.request.AffectedSOPInstanceUID or "without UID")
        data, syntax = event.request.DataSet, event.context.transfer_syntax
        try:
            if data is None:
                raise NotAnImageError("There is no data set.", "damaged")
            data.seek(0)
            header = readHeader(data, data.getbuffer().nbytes, syntax)
            instance = self._files.store(header, [_beginning(event.file_meta), data.getbuffer()])
        except NotAnImageError as error:
            text = f"{visit.caller} sent the instance {name}, which cannot be understood: {error} It was told so."
            self.put(Refused(Event("cannot-understand", text, "warning", visit.peer)))
            return _status(CANNOT_UNDERSTAND, str(error))
        except (OSError, MemoryError) as error:
            why = getattr(error, "strerror", None) or str(error) or "there is no memory"
            text = f"{visit.caller} sent the instance {name}, which cannot be kept in {self._files.folder}: {why}."
            self.put(Refused(Event("not-stored", f"{text} It was told so.", "error", self._files.folder)))
            return _status(OUT_OF_RESOURCES, f"Cannot be stored: {why}")
        visit.stored += 1
        visit.again += instance.known
        self.put(Stored(instance, visit.number))
        return SUCCESS

    def _heard(self, _event: Any, visit: _AssociationState) -> None:
        visit.connection.taken = 0

    def _requested(self, event: Any, visit: _AssociationState) -> None:
        if visit.tooMany:
            # PS3.8 section 9.3.4: for now, by the presentation layer, local limit exceeded.
            event.assoc.acse.send_reject(0x02, 0x03, 0x02)
            self._rejected(event, visit)
            event.assoc.kill()

    def _hungUp(self, event: Any) -> None:
        if event.assoc.requestor.primitive is None:
            # It waits for a request, which will not come any more.
            event.assoc.dul.to_user_queue.put(None)

    def _accepted(self, event: Any, visit: _AssociationState) -> None:
        visit.connection.taken = 0
        if event.assoc.accepted_contexts or not event.assoc.rejected_contexts:
            return
        kinds = {context.abstract_syntax.name for context in event.assoc.rejected_contexts}
        text = f"{visit.caller} offers nothing that can be received here: {', '.join(sorted(kinds)[:3])}."
        self.put(Event("nothing-in-common", text, "warning", visit.peer))

    def _rejected(self, event: Any, visit: _AssociationState) -> None:
        request = event.assoc.requestor.primitive
        called, ours = str(request.called_ae_title).strip(), self._settings.aeTitle
        why = f"{MOST_ASSOCIATIONS} associations are there already"
        if visit.tooMany:
            pass
        elif self._settings.callers and str(request.calling_ae_title).strip() not in self._settings.callers:
            why = "its title is not among those that may send"
        elif self._settings.checkCalled and called != ours.strip():
            why = f"it calls {called}, and this is {ours}"
        self.put(
            Event("peer-refused", f"{visit.caller} wanted to send, and was refused: {why}.", "warning", visit.peer)
        )

    def _ends(self, _event: Any) -> None:
        self._wake()

    # ---- afterwards

    def _parted(self, visit: _AssociationState) -> Iterator[Item]:
        association = visit.association
        yield Released(visit.number)
        if visit.again:
            text = f"{visit.again} of {visit.stored} instances of {visit.caller} were there already, bit for bit."
            yield Event("duplicate", text, subject=visit.peer)
        if association.is_released or association.is_rejected:
            return
        if visit.connection.taken > visit.connection.limit:
            limit = self._settings.sizeLimit
            text = f"{visit.caller} sends an instance of more than {limit:,} bytes: the connection is closed."
            yield Refused(Event("too-large", text, "warning", visit.peer))
        elif visit.connection.taken > _FAREWELL:
            text = f"{visit.caller} is gone in the middle of an instance, which is not stored."
            yield Refused(Event("sender-lost", text, "warning", visit.peer))
        else:
            silent = getattr(association, "_sent_abort", False)
            how = f"said nothing for {IDLE:.0f} s and was given up" if silent else "is gone without a farewell"
            text = f"{visit.caller} {how}; {visit.stored} of its instances are stored."
            yield Event("sender-gone", text, "warning", visit.peer)


def _beginning(meta: Any) -> bytes:
    from pynetdicom.dsutils import encode_file_meta

    return PREAMBLE + bytes(encode_file_meta(meta))


def _status(code: int, words: str) -> Any:
    from pydicom.dataset import Dataset

    status = Dataset()
    status.Status = code
    # LO: 64 characters of the default repertoire (PS3.5 section 6.2).
    status.ErrorComment = words.encode("ascii", "replace").decode().replace("\\", "/")[:64]
    return status
