"""What is left of a source that has ended."""

from __future__ import annotations

import gc
import weakref

from RealTimeImagingLib import FolderSettings
from unit.conftest import arrive, niftiFile

from .conftest import until, untilRunning, untilStopped


def test_aSourceThatHasEndedIsForgottenWhenAnotherStarts(logic, incoming):
    """Its stream has another name: nothing replaces what was kept of it."""
    source = logic.start(FolderSettings(incoming, stream="First"))
    untilRunning(source)
    arrive(incoming / "a.nii", niftiFile(1))
    until(lambda: logic.statistics()["shown"] == 1)
    untilStopped(logic)
    known = weakref.ref(source)
    del source
    logic.start(FolderSettings(incoming, stream="Second"))

    def forgotten():
        gc.collect()
        return known() is None

    until(forgotten)
