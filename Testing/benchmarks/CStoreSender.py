"""A sender of prepared C-STORE requests over a bare socket: it takes next to no time itself.

    python -m benchmarks.CStoreSender JSON     [port, plain, number of the first series, volumes, slices, side]

Prints the seconds from the first request to the last answer. Plain: only the bytes of the data sets, each after its
length, to a socket that answers with a few bytes.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from io import BytesIO

import numpy as np
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.pdu import A_ASSOCIATE_RQ, A_RELEASE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification

from .Slices import CT, sliceOf

_PDU = 16382
_SUCCESS = b"\x00\x00\x00\x09\x02\x00\x00\x00\x00\x00"
"""Status 0 in the command of an answer (PS3.7 section 9.3.1.2), as Implicit VR Little Endian."""
_ACCEPTED, _DATA = 2, 4
"""Types of the PDUs that answer (PS3.8 section 9.3)."""


def main() -> None:
    """Send all, and print the seconds."""
    port, plain, first, volumes, slices, side = json.loads(sys.argv[1])
    plane = np.random.default_rng(0).integers(0, 999, (side, side)).astype(np.int16)
    sent = [sliceOf(np.roll(plane, k), first + number, k) for number in range(volumes) for k in range(slices)]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if plain:
            data = [encode(one, False, True) for one in sent]
            messages = [len(one).to_bytes(4, "big") + one for one in data]
        else:
            messages = [_request(one, number % 65535 + 1) for number, one in enumerate(sent)]
            connection.sendall(_association())
            assert _answer(connection) == _ACCEPTED
        began = time.perf_counter()
        for message in messages:
            connection.sendall(message)
            if plain:
                assert connection.recv(16)
            else:
                assert _answer(connection) == _DATA
        print(time.perf_counter() - began)
        if not plain:
            connection.sendall(A_RELEASE_RQ().encode())
            _answer(connection)


def _association() -> bytes:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "SENDER", "SLICER"
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = _PDU
    implementation.implementation_class_uid = "1.2.3.4"
    primitive.user_information = [length, implementation]
    context = build_context(CT, [ExplicitVRLittleEndian])
    context.context_id = 1
    primitive.presentation_context_definition_list = [context]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())


def _request(one: object, number: int) -> bytes:
    primitive, message = C_STORE(), C_STORE_RQ()
    primitive.MessageID, primitive.Priority = number, 2
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = one.SOPClassUID, one.SOPInstanceUID
    primitive.DataSet = BytesIO(encode(one, False, True))
    message.primitive_to_message(primitive)
    data = b""
    for part in message.encode_msg(1, _PDU):
        pdu = P_DATA_TF()
        pdu.from_primitive(part)
        data += pdu.encode()
    return data


def _answer(connection: socket.socket) -> int:
    if hasattr(socket, "TCP_QUICKACK"):
        # A receiver that answers in two pieces would otherwise wait 40 ms for the acknowledgement of the first.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    head = connection.recv(6, socket.MSG_WAITALL)
    body = connection.recv(int.from_bytes(head[2:6], "big"), socket.MSG_WAITALL)
    assert head[0] != _DATA or _SUCCESS in body, "an instance was rejected"
    return head[0]


if __name__ == "__main__":
    main()
