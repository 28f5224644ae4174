"""Storage SCP on pynetdicom's server: associations, and the instances that they store."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import logging
import queue
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from ...Model.Errors import NotAnImageError
from ...Model.Event import Event, Remedy
from ...Model.Files import LONGEST_ACCESS, reasonOf
from ...Model.Text import textsOf
from ..Endpoints import Listener, nameOf
from ..Sockets import listenOn
from . import DICOMSettings
from .Association import IDLE, LARGEST_PDU, NEGOTIATION, STALLED, VERIFICATION, AssociationState, Item, Rejected, Stored
from .Files import Files

_ = textsOf(__file__)

log = logging.getLogger(__name__)

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
_NO_TRANSFER_SYNTAX = 4
"""Result of a presentation context: no transfer syntax is supported (PS3.8 section 9.3.3.2)."""

MOST_ASSOCIATIONS = 10
"""Associations at the same time; more are rejected."""
MOST_CONNECTIONS = 64
"""Connections at the same time, also without an association; more are closed."""
_STOPPING = 1.0
"""Seconds for files that are being written when the source stops."""
_ENDING = 0.01
"""Seconds between two checks whether an ending association has ended."""
SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
"""Answers to C-STORE, PS3.4 table B.2-1."""


def contextsOffered() -> list[Any]:
    """Return the presentation contexts; the first transfer syntax here that a sender proposes is accepted."""
    from pynetdicom import AllStoragePresentationContexts, build_context

    compressed = [one for one in (*_JPEG, *_JPEG_LS, *_JPEG_2000, *_OTHER_SYNTAXES) if _isDecodable(one)]
    syntaxes = [*_UNCOMPRESSED, *compressed, _BIG_ENDIAN]
    kinds = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    return [build_context(VERIFICATION), *(build_context(kind, syntaxes) for kind in kinds)]


def _isDecodable(syntax: str) -> bool:
    from pydicom.pixels import get_decoder

    # As Formats.DICOM.Pixels decodes; SimpleITK decodes JPEG.
    if syntax not in _OTHER_SYNTAXES and importlib.util.find_spec("SimpleITK"):
        return True
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


class StorageSCP:
    """Server of associations.

    :param settings: address, titles and peers that may send.
    :param files: folder of the instances.
    """

    def __init__(self, settings: DICOMSettings, files: Files) -> None:
        from pynetdicom import AE, _config

        # Events name the ends of associations.
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
        logging.getLogger("pydicom").setLevel(logging.ERROR)
        # pydicom warns of every oddity, here in many threads.
        warnings.filterwarnings("ignore", module="pydicom")
        _config.LOG_HANDLER_LEVEL = "none"
        self._settings, self._files = settings, files
        self._entity = AE(ae_title=settings.aeTitle)
        # pynetdicom counts silent connections, too, and rejects all of several that connect at once.
        self._entity.maximum_associations = 2 * MOST_CONNECTIONS
        self._entity.maximum_pdu_size = LARGEST_PDU
        self._entity.acse_timeout, self._entity.dimse_timeout, self._entity.network_timeout = NEGOTIATION, IDLE, IDLE
        self._entity.require_called_aet = settings.checkCalled
        self._entity.require_calling_aet = list(settings.callers)
        # The server copies its contexts for each connection, which takes 50 ms for all of them.
        self._entity.add_supported_context(VERIFICATION)
        self._contexts = contextsOffered()
        self._listener = Listener(settings.host, settings.port, settings.allowed, listen=self._serve)
        self._server: Any = None
        self._items: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._states: list[AssociationState] = []
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._closing = False

    @property
    def isListening(self) -> bool:
        """Whether senders can connect."""
        return self._listener.socket is not None

    @property
    def status(self) -> str:
        """Why senders cannot connect yet."""
        return self._listener.status

    @property
    def reach(self) -> str:
        """Sentence about the computers that can connect."""
        return self._listener.reach

    @property
    def remedy(self) -> Remedy | None:
        """Another port or address with which senders could connect, None when neither helps."""
        return self._listener.remedy

    @property
    def port(self) -> int:
        """Port of the server."""
        return self._listener.port

    @property
    def senders(self) -> list[str]:
        """Titles and addresses of the connected senders."""
        return [state.caller for state in list(self._states)]

    @property
    def waitsForFolder(self) -> bool:
        """Whether an access to the folder takes unusually long: its sender waits meanwhile."""
        return any(time.monotonic() - state.accessed > LONGEST_ACCESS for state in list(self._states))

    def items(self, now: float, seconds: float) -> Iterator[Item]:
        """Yield what has happened since the last call; block at most ``seconds`` for the first.

        :param now: monotonic seconds.
        """
        if now >= self._listener.due:
            for event in self._listener.open(now):
                self.put(event)
        states = list(self._states)
        if any(state.association.is_released or state.association.is_aborted for state in states):
            seconds = min(seconds, _ENDING)
        item: Item | None = None
        with contextlib.suppress(queue.Empty):
            item = self._items.get(timeout=max(0.0, min(seconds, self._listener.due - now)))
        for state in (one for one in states if one.isOver):
            state.disconnect()
            if not state.association.dul.is_alive():
                state.discard()
                self._states.remove(state)
                # The queue holds everything that the association has stored.
                for last in state.lastItems(self._settings.sizeLimit):
                    self.put(last)
        if item:
            yield item
        yield from self.rest()

    def rest(self) -> Iterator[Item]:
        """Yield what has happened since the last call, also after :meth:`close`."""
        with contextlib.suppress(queue.Empty):
            while True:
                if item := self._items.get_nowait():
                    yield item

    def wake(self) -> None:
        """End the wait in :meth:`items`, from any thread."""
        self._items.put(None)

    def put(self, item: Item) -> None:
        """Add an item, from any thread."""
        self._items.put(item)

    def close(self) -> None:
        """Stop the server and end all associations; files that are being written get some time."""
        self._closing = True
        for state in list(self._states):
            state.disconnect()
        if self._server:
            self._server.shutdown()
            self._server = None
        self._listener.close()
        end = time.monotonic() + _STOPPING
        for state in self._states:
            state.disconnect()
            for thread in (state.association, state.association.dul):
                with contextlib.suppress(RuntimeError):  # not started
                    thread.join(max(0.0, end - time.monotonic()))
            state.discard()
        self._states.clear()

    def _serve(self, host: str, port: int) -> socket.socket:
        from pynetdicom import evt

        # pynetdicom's socket would share a port on Windows, and takes no names.
        with listenOn(host, port) as probe:
            address = probe.getsockname()
        handlers = [(evt.EVT_CONN_OPEN, self._connected)]
        self._server = self._entity.start_server(address, block=False, evt_handlers=handlers)
        made: socket.socket = self._server.socket
        return made

    # ---- called by the threads of pynetdicom

    def _connected(self, event: Any) -> None:
        association = event.assoc
        wire, peer = association.dul.socket, nameOf(event.address)
        refusal = self._listener.refusal(event.address)
        # items() removes ended connections, and may be late.
        if not refusal and sum(not state.isOver for state in list(self._states)) >= MOST_CONNECTIONS:
            text = _("{peer} wanted to connect, but {limit} connections are open already.")
            text = text.format(peer=peer, limit=MOST_CONNECTIONS)
            refusal = Event("peer-refused", text, "warning", peer)
        if refusal:
            self.put(refusal)
        if refusal or self._closing or not _configure(wire.socket):
            wire.close()
            _stopWaiting(association)
            return
        state = AssociationState(next(self._numbers), association, wire.socket, peer)
        # pynetdicom reads 4 kB at a time, without a limit for sizes or for slow senders.
        wire.recv = state.receive
        association.acceptor.supported_contexts = self._contexts
        association.dul.daemon = True
        for thread in (association, association.dul):
            thread.run = _guarded(thread.run, association)
        self._bind(association, state)
        self._states.append(state)

    def _bind(self, association: Any, state: AssociationState) -> None:
        from pynetdicom import evt

        association.bind(evt.EVT_PDU_RECV, self._spool, [state])
        association.bind(evt.EVT_DIMSE_RECV, self._messageReceived, [state])
        association.bind(evt.EVT_C_STORE, self._store, [state])
        association.bind(evt.EVT_C_ECHO, self._echo, [state])
        association.bind(evt.EVT_REQUESTED, self._requested, [state])
        association.bind(evt.EVT_ACCEPTED, self._accepted, [state])
        association.bind(evt.EVT_REJECTED, self._rejected, [state])
        for kind in (evt.EVT_RELEASED, evt.EVT_ABORTED, evt.EVT_CONN_CLOSE):
            association.bind(kind, self._ends, [state])

    def _requested(self, event: Any, state: AssociationState) -> None:
        state.requested, state.taken, state.limit = True, 0, self._settings.sizeLimit + LARGEST_PDU
        with self._lock:
            state.admitted = sum(one.admitted for one in list(self._states)) < MOST_ASSOCIATIONS
        if not state.admitted:
            # PS3.8 section 9.3.4: transient, by the presentation layer, local limit exceeded.
            event.assoc.acse.send_reject(0x02, 0x03, 0x02)
            self._rejected(event, state)
            event.assoc.kill()

    def _accepted(self, event: Any, state: AssociationState) -> None:
        if any(context.abstract_syntax != VERIFICATION for context in event.assoc.accepted_contexts):
            return
        rejected = [one for one in event.assoc.rejected_contexts if one.abstract_syntax != VERIFICATION]
        if not rejected:
            return
        kinds = ", ".join(sorted({one.abstract_syntax.name for one in rejected})[:3])
        text = _("{caller} offers {kinds}, which this receiver cannot store: it stores images. Send images from there.")
        if any(one.result == _NO_TRANSFER_SYNTAX for one in rejected):
            text = _(
                "{caller} offers {kinds} only with a compression that cannot be decoded here. Set it to send "
                "uncompressed images."
            )
        self.put(Event("nothing-in-common", text.format(caller=state.caller, kinds=kinds), "warning", state.peer))

    def _rejected(self, event: Any, state: AssociationState) -> None:
        request = event.assoc.requestor.primitive
        called, ours = str(request.called_ae_title).strip(), self._settings.aeTitle
        calling, remedy = str(request.calling_ae_title).strip(), None
        if not state.admitted:
            why = _("{limit} associations are open already").format(limit=MOST_ASSOCIATIONS)
        elif self._settings.callers and calling not in self._settings.callers:
            why = _("its AE title {title} is not among the allowed AE titles").format(title=calling)
            remedy = Remedy(_("Accept {title}").format(title=calling), {"callers": [*self._settings.callers, calling]})
        else:
            why = _("it calls the AE title {called}, but this receiver is {ours}; set {ours} at the sender")
            why = why.format(called=called, ours=ours)
            remedy = Remedy(_("Accept any title"), {"checkCalled": False})
        state.admitted = False
        text = _("The association of {caller} was rejected: {why}.").format(caller=state.caller, why=why)
        self.put(Event("peer-refused", text, "warning", state.peer, remedy=remedy))

    def _spool(self, event: Any, state: AssociationState) -> None:
        with state.accessing():
            state.spool(event.pdu, self._files)

    def _messageReceived(self, _event: Any, state: AssociationState) -> None:
        state.taken = state.unspooled = 0

    def _store(self, event: Any, state: AssociationState) -> Any:
        name = str(event.request.AffectedSOPInstanceUID or "without UID")
        state.sent += 1
        incoming = state.take(event.request)
        try:
            with state.accessing():
                instance = incoming.store(self._files)
        except NotAnImageError as error:
            text = _("The instance {name} of {caller} was rejected: {reason} The sender received this reason.")
            text = text.format(name=name, caller=state.caller, reason=str(error))
            self.put(Rejected(Event("cannot-understand", text, "warning", state.peer)))
            return _status(CANNOT_UNDERSTAND, str(error))
        except (OSError, ValueError, MemoryError) as error:
            text = _(
                "The instance {name} of {caller} cannot be stored in {folder}: {reason}. The sender received this "
                "reason. Free space there, or choose another folder."
            )
            reason = reasonOf(error) or _("out of memory")
            text = text.format(name=name, caller=state.caller, folder=self._files.folder, reason=reason)
            self.put(Rejected(Event("not-stored", text, "error", self._files.folder)))
            return _status(OUT_OF_RESOURCES, f"Cannot be stored: {reason}")
        finally:
            incoming.discard()
        state.stored += 1
        state.duplicates += instance.known
        self.put(Stored(instance, state.number))
        return SUCCESS

    def _echo(self, event: Any, state: AssociationState) -> int:
        state.echoes += 1
        return SUCCESS

    def _ends(self, event: Any, state: AssociationState) -> None:
        state.admitted = False
        if event.assoc.requestor.primitive is None:
            _stopWaiting(event.assoc)
        self.wake()


def _guarded(run: Callable[[], None], association: Any) -> Callable[[], None]:
    """Let a thread of pynetdicom end quietly after damaged messages; the end of the connection is reported."""

    def guarded() -> None:
        try:
            run()
        except Exception:  # noqa: BLE001 - pynetdicom does not document its exceptions on damaged bytes
            log.info("A thread of pynetdicom has ended", exc_info=True)
            _stopWaiting(association)

    return guarded


def _configure(connection: socket.socket) -> bool:
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(STALLED)
    except OSError:  # disconnected already
        return False
    return True


def _stopWaiting(association: Any) -> None:
    # The association waits for a request, which will not come any more.
    association.dul.to_user_queue.put(None)


def _status(code: int, words: str) -> Any:
    from pydicom.dataset import Dataset

    status = Dataset()
    status.Status = code
    # LO: 64 characters of the default repertoire (PS3.5 section 6.2).
    status.ErrorComment = words.encode("ascii", "replace").decode().replace("\\", "/")[:64]
    return status
