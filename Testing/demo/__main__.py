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
from RealTimeImagingLib.Model.Codecs import ENCODERS
from RealTimeImagingLib.Model.Errors import SettingsError
from RealTimeImagingLib.Processing.Loading import findFunction
from RealTimeImagingLib.Simulator.Files import FORMATS
from RealTimeImagingLib.Simulator.Film import DEPTH
from RealTimeImagingLib.Sources.Processor import EVERY

from .Feeds import FEEDS
from .Phantom import comparedWithPhantom
from .Report import Witness, recordedEqual, report
from .Results import resultsEqual

HERE = os.path.dirname(os.path.abspath(__file__))
MODULE = os.path.join(HERE, "..", "..", "RealTimeImaging")
FRAMES_WITHOUT_SCREEN = 40
FPS = 10.0
PATIENCE = 15.0
"""Seconds without a new frame after which the demo gives up."""
LOADING = 60.0
"""Seconds for a function to load."""
PROCESSING = {"processed": "processed", "processingSkipped": "skipped", "processingFailed": "failed"}
"""Counts of a function in the report, and their names in its statistics."""


def main() -> int:
    """Run the demo; return 0 when every sent frame was received, and shown correctly or skipped."""
    options = _options()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for path in filter(None, (options.report, options.screenshot)):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    slicer = slicerhost.boot()
    screen = not sys.platform.startswith("linux") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())
    frames = options.frames or (None if screen else FRAMES_WITHOUT_SCREEN)
    # The results are compared with those of the recorded images. A demo without end would fill the disk.
    options.record = options.record or bool(options.process and frames)
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
        source = logic.sources()[0]
        slicerhost.runUntil(lambda: source.state == "running", 20)
        processor = _process(logic, options, feed) if options.process else None
        witness.results = processor.stream if processor else ""
        feed.begin()
        _watch(window, layout, logic, feed, screen and not options.frames)
        if options.screenshot or not screen:
            slicerhost.runUntil(lambda: False, 0.4)
            window.grab().save(options.screenshot or "demo.png")
        if processor:
            _drain(logic, source, processor)
        volume = _volumeOf(logic, processor.stream) if processor and options.usual else None
        logic.stopRecording()
        logic.stop()
        slicerhost.runUntil(lambda: not logic.isRunning() and not logic.recording.building, 10)
        sent = feed.sent()
        found = report(options.source, feed.input, sent, _statisticsOf(logic, source, witness.results), witness)
        if options.record:
            found["pixelsEqual"] = found["pixelsEqual"] and recordedEqual(sent, recordings, witness.results)
        if processor:
            figures = processor.statistics()
            found |= {name: figures[key] for name, key in PROCESSING.items()}
            equal, found["resultsCompared"] = True, 0
            if options.record:
                values = feed.parameters if options.usual else {}
                equal, found["resultsCompared"] = resultsEqual(
                    processor.settings.function, values, recordings, processor.stream, figures
                )
            found["pixelsEqual"] = found["pixelsEqual"] and equal
        if volume:
            equal, found["voxelsCompared"] = comparedWithPhantom(*volume)
            found["pixelsEqual"] = found["pixelsEqual"] and equal
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
    parser.add_argument(
        "--format",
        choices=list(FORMATS),
        default="nii",
        help="format of the files in a folder; dcm: one DICOM file for each slice",
    )
    parser.add_argument(
        "--video",
        default="",
        choices=list(ENCODERS),
        help="openigtlink: send the middle slice as compressed video (VIDEO), and compare with the decoded pictures",
    )
    parser.add_argument(
        "--depth",
        type=int,
        default=8,
        choices=[8, DEPTH],
        help=f"camera: bits of each value; {DEPTH}: grey pictures of the phantom, compared with all bits",
    )
    parser.add_argument("--record", action="store_true", help="record the images, and compare every stored frame")
    parser.add_argument(
        "--process",
        metavar="FILE",
        help="Python file with process(frame), or name of a built-in function, that runs beside the images; of a demo "
        "with an end, images and results are recorded and compared",
    )
    parser.add_argument(
        "--every", choices=list(EVERY), default="all", help="process all images, or skip older ones that wait"
    )
    parser.add_argument("--report", help="write the report to this JSON file")
    parser.add_argument("--screenshot", help="write a picture of the window to this PNG file")
    options = parser.parse_args()
    options.paced = options.fps is not None
    options.fps = options.fps or FPS
    usual = FEEDS[options.source].function
    options.usual = bool(usual) and not options.process and not options.input and not options.size
    options.process = options.process or usual
    if options.video and options.source != "openigtlink":
        parser.error("--video goes with --source openigtlink.")
    if options.depth == DEPTH and (options.source != "camera" or options.input or options.size):
        parser.error(f"--depth {DEPTH} goes with --source camera, without --input and --size.")
    if options.process:
        try:
            options.process = findFunction(options.process)
        except SettingsError as error:
            parser.error(str(error))
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


def _process(logic: Any, options: argparse.Namespace, feed: Any) -> Any:
    """Run the function beside the source, whose first image comes after it is loaded; return it."""
    values = feed.parameters if options.usual else {}
    if options.usual:
        # The volume is what the user wants to see.
        logic.setShowIn("none", feed.stream)
    processor = logic.processing.start(options.process, stream=feed.stream, every=options.every, parameters=values)

    def ready() -> bool:
        return bool(processor.resultSource.details.get("connected")) and "starting" not in processor.status

    slicerhost.runUntil(ready, LOADING)
    if options.usual:
        logic.setShowIn("all", processor.stream)
    return processor


def _drain(logic: Any, source: Any, processor: Any) -> None:
    """Wait until the function has finished the images that wait, as long as it makes progress."""
    logic.stop(source)
    last, since = -1, time.monotonic()

    def over() -> bool:
        nonlocal last, since
        figures = processor.statistics()
        done = figures.get("processed", 0) + figures.get("failed", 0)
        if done != last:
            last, since = done, time.monotonic()
        return processor.ended or time.monotonic() - since > PATIENCE

    slicerhost.runUntil(over, timeout=float("inf"), everyMs=100)


def _volumeOf(logic: Any, stream: str) -> tuple[Any, Any]:
    """Return the voxels that Slicer shows, shape (k, j, i), and their IJKToRAS."""
    import slicer
    import vtk

    def shown() -> bool:
        counts = logic.statistics()["streams"][stream]
        return bool(counts["received"] == counts["shown"] + counts["skipped"])

    slicerhost.runUntil(shown, PATIENCE)
    node, matrix = logic.liveVolumeNode(stream), vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVolume(node).copy(), slicer.util.arrayFromVTKMatrix(matrix)


def _statisticsOf(logic: Any, source: Any, results: str) -> dict[str, Any]:
    """Return the statistics of the source alone, without the results of a function."""
    statistics = logic.statistics()
    streams = [one for name, one in statistics["streams"].items() if name != results]
    counts = {name: sum(one[name] for one in streams) for name in ("received", "shown", "skipped")}
    own = {name: getattr(source, name) for name in ("recorded", "rejected", "failed")}
    return {**statistics, **counts, **own, "fps": round(sum(one["fps"] for one in streams), 2)}


def _watch(window: Any, layout: Any, logic: Any, feed: Any, forever: bool) -> None:
    last, since, reset = 0, time.monotonic(), False

    def over() -> bool:
        nonlocal last, since, reset
        received = logic.statistics()["streams"].get(feed.stream, {}).get("received", 0)
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
        # All that was sent has arrived, and one image more would have had the time to arrive.
        quiet = time.monotonic() - since
        arrived = quiet > 1 and feed.ended and last >= sum(len(entry["checksums"]) for entry in feed.sent())
        return bool(not forever and (arrived or quiet > PATIENCE))

    slicerhost.runUntil(over, timeout=float("inf"), everyMs=100)


def _tell(found: dict[str, Any], path: str | None, recorded: bool) -> int:
    text = json.dumps(found, indent=1)
    print(text)
    if path:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    complete = found["framesSent"] == found["received"] == found["shown"] + found["skipped"]
    stored = not recorded or found["recorded"] == found["received"]
    processed = [found[name] for name in PROCESSING if name in found]
    processed = not processed or sum(processed) == found["received"]
    return 0 if complete and stored and processed and found["pixelsEqual"] and not found["rejected"] else 1


if __name__ == "__main__":
    sys.exit(main())
