"""python .../Simulator/__main__.py FOLDER | --listen PORT | --connect PORT | --post URL | --store PORT | --mrd PORT |
--film FILE"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import IO, Any

# Slicer's Python does not have the module's folder in its path. The folder of this file must not hide other packages.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from RealTimeImagingLib.Model.Codecs import ENCODERS
from RealTimeImagingLib.Model.Errors import RealTimeImagingError
from RealTimeImagingLib.Model.Files import reasonOf
from RealTimeImagingLib.Model.Frame import Image
from RealTimeImagingLib.Model.Text import sentence
from RealTimeImagingLib.Simulator.Files import FORMATS, shots
from RealTimeImagingLib.Simulator.Images import images
from RealTimeImagingLib.Simulator.Scanners import MODES, FolderScanner, PostingScanner

SCANS = "tank", "phantom"


def main() -> int:
    """Run the simulated scanner and return the exit code."""
    options = _options()
    stopped = threading.Event()
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, lambda *_: stopped.set())
    if options.until_input_ends:
        threading.Thread(target=_untilInputEnds, args=(stopped,), daemon=True).start()
    try:
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(open(options.log, "w", encoding="utf-8")) if options.log else None
            if options.folder:
                scanner = FolderScanner(options.folder, options.fps, options.mode, log, options.keep)
                files = shots(options.input, options.loop, options.format, options.thin)
                scanner.send(itertools.islice(files, options.frames), stopped.is_set)
            elif options.film:
                from RealTimeImagingLib.Simulator.Film import SECONDS, FilmingScanner, phantomPictures, pictureOf

                film = stack.enter_context(contextlib.closing(FilmingScanner(options.film, options.fps, log)))
                made = map(pictureOf, _images(options)) if options.input else phantomPictures()
                endless = options.loop or not options.input
                most = options.frames or (round(SECONDS * options.fps) if endless else None)
                film.send(itertools.islice(made, most), stopped.is_set)
            else:
                sender = stack.enter_context(contextlib.closing(_sender(options, log)))
                sender.send(itertools.islice(_images(options), options.frames), stopped.is_set)
    except (RealTimeImagingError, OSError, ValueError) as error:
        # A receiver that is stopped together with its scanner breaks the connection.
        if not stopped.is_set():
            sys.stderr.write(f"{sentence(reasonOf(error) if isinstance(error, OSError) else str(error))}\n")
            return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="Simulator",
        description="Writes images into a folder, or sends them over OpenIGTLink, HTTP, DICOM or MRD, as scanners do; "
        "or makes a video, which the camera source plays as if a camera took it.",
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("folder", nargs="?", help="folder for the images")
    target.add_argument("--listen", type=int, metavar="PORT", help="OpenIGTLink: wait for a peer; 0: a free port")
    target.add_argument("--connect", type=int, metavar="PORT", help="OpenIGTLink: connect to a listening peer")
    target.add_argument("--post", metavar="URL", help="HTTP: address to post images to")
    target.add_argument("--store", type=int, metavar="PORT", help="DICOM: send to a listening receiver")
    target.add_argument("--mrd", type=int, metavar="PORT", help="MRD (ISMRMRD): send to a listening server")
    target.add_argument(
        "--film",
        metavar="FILE",
        help="video (.mkv) without loss of the middle slice, for the camera source; of the phantom with 16 bits",
    )
    parser.add_argument("--title", default="SLICER", help="DICOM: the receiver's AE title")
    parser.add_argument("--thin", type=int, default=1, metavar="N", help="DICOM and files: send every Nth slice only")
    token = "HTTP: the receiver's access token; better in the variable REALTIMEIMAGING_TOKEN, which others do not see"
    parser.add_argument("--token", default=os.environ.get("REALTIMEIMAGING_TOKEN", ""), help=token)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on or to connect to")
    parser.add_argument("--device", default="Live", help="OpenIGTLink: device name")
    parser.add_argument(
        "--video", default="", choices=list(ENCODERS), help="OpenIGTLink: send compressed video (VIDEO) of this codec"
    )
    parser.add_argument("--tool", help="OpenIGTLink: send poses of a tool with this name, and images of its sweep")
    parser.add_argument(
        "--scan", choices=SCANS, default="tank", help="what the tool moves over: a water tank, or a phantom with bodies"
    )
    parser.add_argument("--late", type=float, default=0.0, metavar="MS", help="delay of the times of the poses")
    parser.add_argument("--input", help="4-D file, multi-frame DICOM or folder of images; default: a beating phantom")
    parser.add_argument("--fps", type=float, default=10.0, help="images a second")
    parser.add_argument("--frames", type=int, help="stop after this number of images")
    parser.add_argument("--mode", choices=MODES, default="rename", help="how files are written")
    parser.add_argument(
        "--format", choices=list(FORMATS), default="nii", help="of the files; dcm: one DICOM file for each slice"
    )
    parser.add_argument("--loop", action="store_true", help="start again at the end of the input")
    parser.add_argument(
        "--keep", type=int, default=0, help="keep only the files of this number of images in the folder"
    )
    parser.add_argument("--log", help="write a line with checksum and time for each file or frame")
    parser.add_argument("--until-input-ends", action="store_true", help="stop when standard input ends")
    return parser.parse_args()


def _images(options: argparse.Namespace) -> Iterator[Image]:
    if options.tool and not options.input:
        from RealTimeImagingLib.Simulator import Scan, Sweep

        return Scan.scanImages(options.fps) if options.scan == "phantom" else Sweep.sweepImages(options.fps)
    return images(options.input, options.loop)


def _sender(options: argparse.Namespace, log: IO[str] | None) -> Any:
    # Imports at the point of use: pyigtl and pynetdicom need not be installed for the other scanners.
    if options.post:
        return PostingScanner(options.post, options.token, options.fps, log)
    if options.store is not None:
        from RealTimeImagingLib.Simulator.StoringScanner import StoringScanner

        return StoringScanner(options.host, options.store, options.title, options.fps, log, options.thin)
    if options.mrd is not None:
        from RealTimeImagingLib.Simulator.MRDScanner import MRDScanner

        return MRDScanner(options.host, options.mrd, options.fps, log)
    from RealTimeImagingLib.Simulator import Scan, Sweep
    from RealTimeImagingLib.Simulator.NetworkScanner import NetworkScanner

    server = options.listen is not None
    port = options.listen if server else options.connect
    poseOf = Scan.probePose if options.scan == "phantom" else Sweep.probePose
    tracker = Sweep.SimulatedTracker(options.tool, options.late / 1000, poseOf) if options.tool else None
    scanner = NetworkScanner(options.host, port, server, options.fps, options.device, log, options.video, tracker)
    # Slicer, which ends the input, takes messages only.
    if server and not options.until_input_ends:
        sys.stdout.write(f"Listening on port {scanner.port}\n")
        sys.stdout.flush()
    return scanner


def _untilInputEnds(stopped: threading.Event) -> None:
    while os.read(0, 1 << 12):
        pass
    stopped.set()


if __name__ == "__main__":
    code = main()
    # A thread that waits for input would keep the interpreter alive.
    sys.stdout.flush()
    os._exit(code)
