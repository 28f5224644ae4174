"""What a frame costs Slicer's main thread is no more than it was; unit/test_HotPaths has the acquisition process."""

import numpy as np
import slicerhost
from hotpaths import costOf, excess

SHAPE = (4, 128, 128)


def test_the_main_thread_pushes_and_shows_an_image_at_its_usual_cost(views, logic):
    pixels = np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.int16)
    logic.setShowIn("none")
    pushed = 0

    def frame():
        nonlocal pushed
        pushed += 1
        logic.push(pixels, name="Live", wait=20)
        (source,) = logic.sources()
        # The predicate executes nothing of the library.
        counts = source.counts
        slicerhost.runUntil(lambda: "Live" in counts and counts["Live"].shown == pushed, 20, everyMs=10)

    frame()
    # In its first second an image also moves window and level.
    logic.volumes.setWindowMode("Live", "keep")
    assert not excess("main thread", costOf(frame))
    assert logic.statistics()["shown"] == pushed
