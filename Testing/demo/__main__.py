"""python3 run.py demo: a demonstration of the module, and a check that each frame arrives as sent."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from typing import Any

import slicerhost

from .Feeds import FEEDS
from .Report import Witness, recordedEqual, report

HERE = os.path.dirname(os.path.abspath(__file__))
MODULE = os.path.join(HERE, "..", "..", "RealTimeImaging")
FRAMES_WITHOUT_SCREEN = 40
FPS = 10.0
PATIENCE = 15.0
"""Seconds without a new frame after which the demo gives up."""


def main() -> int:
    """Run the demo; return 0 when every sent frame was received, and shown correctly or skipped."""
    options = _options()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for path in filter(None, (options.report, options.screenshot)):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    slicer = slicerhost.boot()
    screen = not sys.platform.startswith("linux") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())
    frames = options.frames or (None if screen else FRAMES_WITHOUT_SCREEN)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-"))
        feed = FEEDS[options.source](options, folder, frames)
        stack.callback(feed.close)
        recordings = os.path.join(folder, "recordings")
        window, layout, panel = _window(screen)
        logic = panel.logic
        witness = Witness(lambda stream: slicer.util.arrayFromVolume(logic.liveVolumeNode(stream)))
        logic.addFrameCallback(witness)
        _press(panel.panel.ui, feed, recordings if options.record else "")
        slicerhost.runUntil(lambda: logic.sources()[0].state == "running", 20)
        feed.begin()
        _watch(window, layout, logic, feed, screen and not options.frames)
        if options.screenshot or not screen:
            slicerhost.runUntil(lambda: False, 0.4)
            window.grab().save(options.screenshot or "demo.png")
        browser = logic.stopRecording()
        logic.stop()
        slicerhost.runUntil(lambda: not logic.isRunning() and not logic.recording.building, 10)
        sent = feed.sent()
        found = report(options.source, feed.input, sent, logic.statistics(), witness)
        if browser:
            found["pixelsEqual"] = found["pixelsEqual"] and recordedEqual(sent, recordings)
        slicerhost.quit()
    return _tell(found, options.report, options.record)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py demo", description=__doc__)
    parser.add_argument("--source", choices=list(FEEDS), default="folder", help="how images reach the module")
    parser.add_argument("--input", help="4-D NIfTI, multi-frame DICOM, recording; or a folder of images")
    parser.add_argument("--fps", type=float, help=f"images per second (default {FPS:g}, or the rate of a video)")
    parser.add_argument("--frames", type=int, help="number of images (default with a screen: until the window closes)")
    parser.add_argument(
        "--size", choices=["1080p"], help="scale pictures, of the input or of an ultrasound cine, to RGB"
    )
    parser.add_argument(
        "--mode", choices=["rename", "grow", "burst"], default="rename", help="how the scanner writes files"
    )
    parser.add_argument("--record", action="store_true", help="record the images, and compare every stored frame")
    parser.add_argument("--report", help="write the report to this JSON file")
    parser.add_argument("--screenshot", help="write a picture of the window to this PNG file")
    options = parser.parse_args()
    options.paced = options.fps is not None
    options.fps = options.fps or FPS
    return options


def _window(screen: bool) -> tuple[Any, Any, Any]:
    import qt

    views, layout = slicerhost.makeViewWidget() if screen else slicerhost.makeImageWidget()
    module = slicerhost.loadModule(os.path.join(MODULE, "RealTimeImaging.py"))
    panel = module.widgetRepresentation()
    column = qt.QScrollArea()
    column.setWidgetResizable(True)
    column.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
    column.setFixedWidth(420)
    column.setWidget(panel)
    window = qt.QSplitter()
    window.setWindowTitle("Real-Time Imaging")
    window.addWidget(column)
    window.addWidget(views)
    window.resize(1240, 820)
    window.show()
    panel.enter()
    return window, layout, panel.self()


def _press(ui: Any, feed: Any, recordings: str) -> None:
    feed.choose(ui)
    ui.recordingFolderPathLineEdit.currentPath = recordings
    ui.recordFromStartCheckBox.checked = bool(recordings)
    ui.startButton.click()


def _watch(window: Any, layout: Any, logic: Any, feed: Any, forever: bool) -> None:
    last, since, reset = 0, time.monotonic(), False

    def over() -> bool:
        nonlocal last, since, reset
        received = logic.statistics()["received"]
        if received != last:
            last, since = received, time.monotonic()
        if logic.statistics()["shown"] and not reset:
            reset = True
            for widget in map(layout.sliceWidget, layout.sliceViewNames()):
                shown = bool(widget.mrmlSliceCompositeNode().GetBackgroundVolumeID())
                widget.mrmlSliceNode().SetSliceVisible(shown)
            layout.threeDWidget(0).threeDView().resetFocalPoint()
        if not window.isVisible():
            return True
        # The sender has ended, and what it sent last has had the time to arrive.
        quiet = time.monotonic() - since
        return (feed.ended and quiet > 1 and not forever) or (quiet > PATIENCE and not forever)

    slicerhost.runUntil(over, timeout=float("inf"), everyMs=100)


def _tell(found: dict[str, Any], path: str | None, recorded: bool) -> int:
    text = json.dumps(found, indent=1)
    print(text)
    if path:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    complete = found["framesSent"] == found["received"] == found["shown"] + found["skipped"]
    stored = not recorded or found["recorded"] == found["received"]
    return 0 if complete and stored and found["pixelsEqual"] and not found["rejected"] else 1


if __name__ == "__main__":
    sys.exit(main())
