"""The C++ library of OpenIGTLink: its example programs and small ones of ours, compiled where Debian has put it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

HEADERS = Path("/usr/include/openigtlink")
EXAMPLES = Path("/usr/share/doc/openigtlink-examples/examples")
IMAGES = EXAMPLES / "Imager" / "img"
OURS = Path(__file__).with_name("openigtlink")
SERVERS = (
    "Imager/ImagerServer",
    "Tracker/TrackerServer",
    "TrackingData/TrackingDataServer",
    "QuaternionTrackingData/QuaternionTrackingDataServer",
    "Status/StatusServer",
    "Point/PointServer",
    "Trajectory/TrajectoryServer",
    "PolyData/PolyDataServer",
    "String/StringServer",
    "Capability/CapabilityServer",
    "ImageMeta/ImageMetaServer",
    "ImageMeta/LabelMetaServer",
)
_CLIENTS = ("Receiver/ReceiveClient", "PolyData/PolyDataClient", "Bind/BindClient")
SOURCES = [EXAMPLES / f"{name}.cxx" for name in SERVERS + _CLIENTS] + [OURS / "ReceiveImages.cxx", OURS / "SendAll.cxx"]


def absence() -> str:
    """Why nothing can be compiled here; empty where it can."""
    if not (HEADERS / "igtlImageMessage.h").exists():
        return "the C++ library of OpenIGTLink is not installed (Debian: libopenigtlink-dev)"
    if not IMAGES.exists():
        return "the example programs of OpenIGTLink are not installed (Debian: openigtlink-examples)"
    return "" if shutil.which("g++") else "there is no C++ compiler (g++)"


class Programs:
    """Compiled programs, each known by its source's name; two compilers at a time.

    :param folder: where they go.
    :param sources: all that will be asked for.
    :param optimise: how much, as the compiler writes it.
    """

    def __init__(self, folder: Path, sources: Iterable[Path], optimise: str = "-O0") -> None:
        self._folder, self._optimise = folder, optimise
        pool = ThreadPoolExecutor(2)
        self._made: dict[str, Future[Path]] = {one.stem: pool.submit(self._compile, one) for one in sources}
        pool.shutdown(wait=False)

    def __getitem__(self, name: str) -> str:
        return str(self._made[name].result())

    def _compile(self, source: Path) -> Path:
        made = self._folder / source.stem
        command = ["g++", "-w", self._optimise, f"-I{HEADERS}", str(source), "-o", str(made), "-lOpenIGTLink"]
        done = subprocess.run([*command, "-lpthread"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return made


@contextmanager
def running(command: list[str], **streams: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process, ended afterwards however it is."""
    process = subprocess.Popen(command, **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **streams})
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def connect(port: int, seconds: float = 10.0) -> socket.socket:
    """A connection to a server that may still be starting."""
    end = time.monotonic() + seconds
    while True:
        try:
            made = socket.create_connection(("127.0.0.1", port), seconds)
        except ConnectionRefusedError:
            assert time.monotonic() < end, "nobody listens"
            time.sleep(0.01)
            continue
        if made.getsockname() != made.getpeername():
            return made
        made.close()  # TCP connected the port to itself
