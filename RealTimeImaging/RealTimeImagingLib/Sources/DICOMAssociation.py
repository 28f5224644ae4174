"""An association of pynetdicom on a connection that somebody else accepted."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

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
