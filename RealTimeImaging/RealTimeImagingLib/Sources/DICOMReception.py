"""Associations: each is served by threads of pynetdicom; what they stored is put into a queue.

An instance is in memory until all of it has come. Success is answered when its file is on disk, under its name.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..Doors import Connected
from ..Errors import NotAnImageError
from ..Event import Event
from ..Settings import DICOMSettings
from .DICOMAssociation import LARGEST_PDU, Metered, acceptorOf
from .DICOMFiles import PREAMBLE, Files, Instance
from .DICOMHeader import readHeader
from .DICOMOffer import contextsOffered

MOST = 10
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
class _Visit:
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


class Reception:
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
        self._entity.maximum_associations = 4 * MOST
        self._entity.maximum_pdu_size = LARGEST_PDU
        self._entity.acse_timeout, self._entity.dimse_timeout, self._entity.network_timeout = NEGOTIATION, IDLE, IDLE
        self._entity.require_called_aet = settings.checkCalled
        self._entity.require_calling_aet = list(settings.callers)
        self._contexts = contextsOffered()
        self._items: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._visits: list[_Visit] = []
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
        if len(self._visits) >= 2 * MOST:
            # Those above MOST are told so by the protocol, as long as they are few.
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
        visit = _Visit(self._count, association, connection, peer, len(self._visits) >= MOST)
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

    def _store(self, event: Any, visit: _Visit) -> Any:
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

    def _heard(self, _event: Any, visit: _Visit) -> None:
        visit.connection.taken = 0

    def _requested(self, event: Any, visit: _Visit) -> None:
        if visit.tooMany:
            # PS3.8 section 9.3.4: for now, by the presentation layer, local limit exceeded.
            event.assoc.acse.send_reject(0x02, 0x03, 0x02)
            self._rejected(event, visit)
            event.assoc.kill()

    def _hungUp(self, event: Any) -> None:
        if event.assoc.requestor.primitive is None:
            # It waits for a request, which will not come any more.
            event.assoc.dul.to_user_queue.put(None)

    def _accepted(self, event: Any, visit: _Visit) -> None:
        visit.connection.taken = 0
        if event.assoc.accepted_contexts or not event.assoc.rejected_contexts:
            return
        kinds = {context.abstract_syntax.name for context in event.assoc.rejected_contexts}
        text = f"{visit.caller} offers nothing that can be received here: {', '.join(sorted(kinds)[:3])}."
        self.put(Event("nothing-in-common", text, "warning", visit.peer))

    def _rejected(self, event: Any, visit: _Visit) -> None:
        request = event.assoc.requestor.primitive
        called, ours = str(request.called_ae_title).strip(), self._settings.aeTitle
        why = f"{MOST} associations are there already"
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

    def _parted(self, visit: _Visit) -> Iterator[Item]:
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
