"""Access to folders on drives that may hang, from Slicer's main thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from ..Model.Errors import RecordingFolderError
from ..Model.Text import textsOf

_ = textsOf(__file__)

Result = TypeVar("Result")
Note = Callable[[str], None]


PARTS = 10
"""Parts of the wait for a folder. A halt of this process, such as on a busy computer, takes up one part at most."""


class FolderAccess:
    """Access to folders in a thread, for which the caller waits a moment only.

    A slow access goes on. The next call with the same key waits for it again, and gets its result: a disk that has to
    start first, or a slow network share, can be used at the second attempt.

    :param longest: most seconds that a call waits for a folder.
    :param fresh: seconds for which the result of a slow access holds.
    """

    def __init__(self, longest: float = 0.5, fresh: float = 60.0) -> None:
        self._longest, self._fresh = longest, fresh
        self._attempt: tuple[object, _Attempt[Any]] | None = None

    def result(self, key: object, action: Callable[[Note], Result]) -> Result:
        """Access folders; return the result of ``action``, or raise its error.

        :param key: equal for the same access.
        :param action: called in another thread; takes a function, which it calls with each folder before the access.
        :raises RecordingFolderError: a folder does not respond in time.
        """
        before, self._attempt = self._attempt, None
        if before and before[0] == key and before[1].age <= self._fresh:
            attempt = cast("_Attempt[Result]", before[1])
        else:
            attempt = _Attempt(action)
            attempt.start()
        for _part in range(PARTS):
            attempt.join(self._longest / PARTS)
        if attempt.is_alive():
            self._attempt = key, attempt
            text = _("The folder {folder} does not respond. Check that its drive is connected, then try again.")
            raise RecordingFolderError(text.format(folder=attempt.folder))
        return attempt.result


class _Attempt(threading.Thread, Generic[Result]):
    """One access in a thread that ends with Slicer, even while it hangs."""

    def __init__(self, action: Callable[[Note], Result]) -> None:
        super().__init__(name="folder access", daemon=True)
        self._action = action
        self._results: list[Result] = []
        self._error: BaseException | None = None
        self._ended = float("inf")
        self.folder = ""
        """The folder that is accessed."""

    def run(self) -> None:
        """Call the action."""
        try:
            self._results.append(self._action(self._note))
        except BaseException as error:  # noqa: BLE001 - raised in the thread of the caller
            self._error = error
        self._ended = time.monotonic()

    def _note(self, folder: str) -> None:
        self.folder = folder

    @property
    def age(self) -> float:
        """Seconds since its end, after which the folder may have changed; below 0 while it goes on."""
        return time.monotonic() - self._ended

    @property
    def result(self) -> Result:
        """Result of the action; raises its error."""
        if self._error is not None:
            raise self._error
        return self._results[0]
