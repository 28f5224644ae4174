"""Simulated scanner that sends images to a DICOM receiver (C-STORE), slice by slice, and logs checksums."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

from ..Model.Errors import NotAnImageError
from ..Model.Frame import Image, checksum
from .Scanners import logSent, waitUntil
from .Slices import CAPTURE, MR, SYNTAX, SliceSeries, rightHanded

RETRY = 0.2
"""Seconds between two attempts to reach the receiver."""
TITLE = "SIMULATOR"


class StoringScanner:
    """Simulated scanner that sends one series in one association, as long as the association lasts.

    :param host: address of the receiver. ``port``: its port. ``title``: its AE title.
    :param fps: volumes a second.
    :param log: receives one JSON line for each stored volume: its number from 0 as ``file``, checksums as the receiver
        sorts the slices, and the time (seconds since the epoch) at which the last slice was stored.
    :param thin: send every Nth slice only.
    """

    def __init__(self, host: str, port: int, title: str, fps: float, log: IO[str] | None = None, thin: int = 1) -> None:
        from pynetdicom import AE, _config

        _config.LOG_HANDLER_LEVEL = "none"
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
        self._address, self._title, self._fps, self._log, self._thin = (host, port), title, fps, log, thin
        self._entity = AE(ae_title=TITLE)
        for kind in (MR, CAPTURE):
            self._entity.add_requested_context(kind, SYNTAX)
        self._series = SliceSeries()
        self._association: Any = None

    def send(self, images: Iterator[Image], stopped: Callable[[], bool]) -> int:
        """Send all images, or until stopped, from the receiver's first answer on; return the number of sent images.

        :raises NotAnImageError: DICOM has no place for the image's type, or the receiver rejected a slice.
        """
        count, due = 0, 0.0
        for image in images:
            pixels, matrix = rightHanded(image, self._thin)
            due = due or time.monotonic()
            waitUntil(due, stopped)
            for one in self._series.slices(pixels, matrix, count):
                self._store(one, stopped)
                if stopped():
                    return count
            logSent(self._log, str(count), [checksum(pixels)], time.time())
            count, due = count + 1, due + 1 / self._fps
        return count

    def close(self) -> None:
        """Release the association."""
        if self._association and self._association.is_established:
            self._association.release()

    def _store(self, one: Any, stopped: Callable[[], bool]) -> None:
        while not stopped():
            if not (self._association and self._association.is_established):
                self._association = self._entity.associate(*self._address, ae_title=self._title)
                if not self._association.is_established:
                    waitUntil(time.monotonic() + RETRY, stopped)
                    continue
                keepAnswers(self._association)
            answer = self._association.send_c_store(one)
            if "Status" in answer:
                if answer.Status != 0:
                    words = answer.get("ErrorComment", "")
                    raise NotAnImageError(f"The receiver rejected a slice (0x{answer.Status:04X}). {words}".strip())
                return


def keepAnswers(association: Any) -> None:
    """Keep the association's thread from taking the receiver's answers.

    send_c_store waits for the answer in the queue in which pynetdicom's association thread looks for requests. The
    thread pauses meanwhile, but when it pauses late (once in some thousand stores on a busy computer), it takes the
    answer. A receiver sends no requests.
    """
    take = association.dimse.get_msg
    association.dimse.get_msg = lambda block=False: take(block=True) if block else (None, None)
