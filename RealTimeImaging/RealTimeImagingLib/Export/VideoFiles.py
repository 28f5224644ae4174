"""Video export: MP4 (H.264) to watch and to show, and Matroska (FFV1) without loss; both with a JSON file.

A video has pixels and times only. The JSON file beside it has the exact times, the geometry and the attributes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..Formats.VideoStream import evenPicture
from ..Model.Errors import ExportError
from ..Model.Event import Event
from ..Model.Files import reasonOf
from ..Model.Frame import Pixels
from ..Model.Packages import VIDEO_PACKAGES, checkPackages
from ..Model.Text import textsOf
from .Comparison import Different, compareTimes, compareWords
from .Frames import Frames
from .Job import ExportJob, Work
from .NIfTIFiles import sidecar
from .Output import Output, OutputFile, Writer

if TYPE_CHECKING:
    import av

_ = textsOf(__file__)

SAMPLED_FRAMES, SAMPLED_VALUES = 50, 20_000
"""Most frames, and values of a frame, from which the shown values are chosen."""
PERCENTILES = (0.1, 99.9)
"""Percentiles of the values that are shown as black and white."""
NEAR = 10.0
"""Most brightness, of 255, by which the pictures of a video with loss may differ on average."""
MOST_TICKS = 1 << 31
"""Least distance of two pictures in units of the file that MP4 cannot hold: it has signed numbers of 32 bits."""
BT601, LIMITED = 5, 1
"""FFmpeg's numbers of the colour matrix and the range of the brightness, which players assume differently."""


class VideoFile(Writer):
    """A video and ``.json``."""

    suffix: ClassVar[str]
    format: ClassVar[str]
    """FFmpeg's name of the file format."""
    encoder: ClassVar[str]
    options: ClassVar[dict[str, str]]
    clock: int
    """Units of a second in which the file gives the times; fewer in a file with a pause of hours."""
    sidecar: ClassVar[str] = ".json"
    packs = True

    def __init__(self, frames: Frames, job: ExportJob, work: Work) -> None:
        super().__init__(frames, job, work)
        checkPackages(VIDEO_PACKAGES, _("This format"))
        if frames.shape[0] != 1:
            raise ExportError(
                _("A video shows one slice, but these images have {count}. Choose .seq.nrrd, NIfTI or DICOM.").format(
                    count=frames.shape[0]
                )
            )
        self._ticks = self._times()
        self._words = self._describe()

    def write(self, output: Output) -> None:
        with output.create(self.sidecar) as file:
            file.write(json.dumps(self._words, indent=1, ensure_ascii=True).encode())
        with output.create(self.suffix) as file:
            self._writeVideo(file)

    def compare(self, output: Output) -> None:
        count, times = 0, []
        for count, (time, frame) in enumerate(_framesOf(output.path(self.suffix)), 1):
            if count > len(self.frames):
                break
            times.append(time)
            self._compareFrame(count - 1, frame)
            self.work.step(self.frames.frameBytes, _("Comparing"))
        if count != len(self.frames):
            text = _("The file has {found} pictures, but {expected} were written.")
            raise Different(text.format(found=count, expected=len(self.frames)))
        compareTimes(times, [tick / self.clock for tick in self._ticks], 1e-9, _("the file"))
        with open(output.path(self.sidecar), encoding="utf-8") as file:
            compareWords(json.load(file), self._words, _("The JSON file"))

    def _options(self) -> dict[str, str]:
        """Return the options of the encoder."""
        return self.options

    def _pixelFormat(self) -> str:
        """Return FFmpeg's name of the pixel format of the encoder."""
        raise NotImplementedError

    def _picture(self, index: int) -> tuple[Pixels, str]:
        """Return a picture to encode, and FFmpeg's name of its pixel format."""
        raise NotImplementedError

    def _compareFrame(self, index: int, frame: av.VideoFrame) -> None:
        """:raises Different: the picture that was read is another one."""
        raise NotImplementedError

    def _times(self) -> list[int]:
        """Return the times in units of the file, from the first frame on, strictly increasing."""
        times = self.frames.times
        pause = max((after - before for before, after in pairwise(times)), default=0.0)
        while pause * self.clock >= MOST_TICKS - 1 and self.clock > 1:
            self.clock //= 10
        ticks: list[int] = []
        for time in times:
            tick = round((time - times[0]) * self.clock)
            ticks.append(max(tick, ticks[-1] + 1) if ticks else tick)
        off = max(abs(tick / self.clock - time + times[0]) for tick, time in zip(ticks, times, strict=True))
        if off > 1 / self.clock:
            text = _(
                "Frames are closer to each other than the times of {format} can tell; their times differ by up to "
                "{off:.3g} s. The JSON file has the exact times."
            )
            text = text.format(format=self.suffix, off=off)
            self.events.append(Event("export-altered", text, "warning", self.job.destination))
        return ticks

    def _describe(self) -> dict[str, Any]:
        words = sidecar(self.frames)
        words["Geometry"] = [self.frames.matrix(index).ravel().tolist() for index in range(len(self.frames))]
        words["TimeUnit"] = f"1/{self.clock} s"
        return words

    def _writeVideo(self, file: OutputFile) -> None:
        import av

        av.logging.set_level(av.logging.PANIC)
        container: Any = av.open(file, "w", format=self.format)
        try:
            start = datetime.fromtimestamp(self.frames.start + self.frames.times[0], timezone.utc)
            container.metadata["creation_time"] = start.isoformat(timespec="microseconds")
            stream = container.add_stream(self.encoder, options=self._options())
            stream.height, stream.width = (size + size % 2 if self._even else size for size in self.frames.shape[1:3])
            stream.pix_fmt = self._pixelFormat()
            stream.time_base = stream.codec_context.time_base = Fraction(1, self.clock)
            stream.codec_context.max_b_frames = 0
            if stream.pix_fmt == "yuv420p":
                stream.codec_context.colorspace, stream.codec_context.color_range = BT601, LIMITED
            for index, tick in enumerate(self._ticks):
                self.say(index)
                picture, name = self._picture(index)
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=name)
                frame = frame.reformat(format=stream.pix_fmt)
                frame.pts, frame.time_base = tick, Fraction(1, self.clock)
                container.mux(stream.encode(frame))
                self.work.step(self.frames.frameBytes)
            container.mux(stream.encode(None))
        except BaseException:
            with suppress(Exception):
                container.close()
            raise
        container.close()

    _even: ClassVar[bool] = False
    """Whether the encoder needs an even number of rows and columns."""


class MP4File(VideoFile):
    """``.mp4``: H.264 with little loss. Values of more than 8 bits become brightness."""

    suffix, format, encoder = ".mp4", "mp4", "libx264"
    options: ClassVar[dict[str, str]] = {"preset": "fast", "crf": "16"}
    clock = 90_000
    _even = True

    def __init__(self, frames: Frames, job: ExportJob, work: Work) -> None:
        self._range: tuple[float, float] | None = None
        super().__init__(frames, job, work)
        if frames.components > 1 and frames.dtype != np.uint8:
            text = _("A video holds colour of uint8 only, not {dtype}. Choose .seq.nrrd.")
            raise ExportError(text.format(dtype=str(frames.dtype)))
        if frames.dtype != np.uint8:
            self._range = low, high = self._shownRange()
            self._words["ShownValues"] = [low, high]
            text = _("The video shows values from {low:.6g} (black) to {high:.6g} (white), with 8 bits.")
            self.events.append(Event("export-altered", text.format(low=low, high=high), subject=job.destination))
        if frames.components == 4:
            text = _("The video has no transparency (alpha).")
            self.events.append(Event("export-altered", text, subject=job.destination))
        if any(size % 2 for size in frames.shape[1:3]):
            text = _("H.264 needs an even number of rows and columns: the last one is there twice.")
            self.events.append(Event("export-altered", text, subject=job.destination))

    def _shownRange(self) -> tuple[float, float]:
        """Return the values for black and white: the window of the recording, else percentiles of its values."""
        window = _windowOf({**self.frames.attributes, **self.frames.entry(0)["attributes"]})
        if window:
            return window
        step = -(-len(self.frames) // SAMPLED_FRAMES)
        samples = []
        for index in range(0, len(self.frames), step):
            self.work.step(0, _("Looking at the values"))
            flat = self.frames.pixels(index).ravel()
            values = flat[:: -(-flat.size // SAMPLED_VALUES)].astype(np.float64)
            samples.append(values[np.isfinite(values)])
        values = np.concatenate(samples)
        if not values.size:
            raise ExportError(_("The images have no finite values that a video could show."))
        low, high = np.percentile(values, PERCENTILES)
        return float(low), float(high if high > low else low + 1)

    def _pixelFormat(self) -> str:
        return "yuv420p"

    def _picture(self, index: int) -> tuple[Pixels, str]:
        picture = self.frames.pixels(index)[0]
        if self._range:
            low, high = self._range
            with np.errstate(over="ignore", invalid="ignore"):  # infinite values, and ranges without an end
                scaled = np.nan_to_num((picture.astype(np.float64) - low) * (255 / (high - low)), nan=0.0)
            picture = scaled.clip(0, 255).round().astype(np.uint8)
        return evenPicture(picture[..., :3] if picture.ndim == 3 else picture), "rgb24" if picture.ndim == 3 else "gray"

    def _compareFrame(self, index: int, frame: av.VideoFrame) -> None:
        import av

        picture, name = self._picture(index)
        expected = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=name)
        sent = expected.reformat(format="yuv420p").to_ndarray()[: picture.shape[0]]
        found = frame.to_ndarray()[: picture.shape[0]]
        if found.shape != sent.shape or float(np.abs(found.astype(np.int16) - sent).mean()) > NEAR:
            raise Different(_("Picture {index} of the file is another one than was written.").format(index=index + 1))


class MatroskaFile(VideoFile):
    """``.mkv``: FFV1, without loss; grey of 8 or 16 bits, RGB and RGBA of 8 bits."""

    suffix, format, encoder = ".mkv", "matroska", "ffv1"
    options: ClassVar[dict[str, str]] = {"level": "3", "slices": "4", "slicecrc": "1"}
    clock = 1000
    _formats: ClassVar[dict[tuple[str, int], tuple[str, str]]] = {
        ("uint8", 1): ("gray", "gray"),
        ("uint16", 1): ("gray16le", "gray16le"),
        ("uint8", 3): ("rgb24", "bgr0"),
        ("uint8", 4): ("rgba", "bgra"),
    }
    """Pixel formats of a picture and of the encoder, by type and components."""

    def __init__(self, frames: Frames, job: ExportJob, work: Work) -> None:
        super().__init__(frames, job, work)
        if (frames.dtype.name, frames.components) not in self._formats:
            text = _(
                "A lossless video holds grey of uint8 or uint16 and colour of uint8, not {components} x {dtype}. "
                "Choose another format: .mp4 shows grey values of any type with 8 bits, .seq.nrrd keeps them."
            )
            raise ExportError(text.format(components=frames.components, dtype=frames.dtype.name))

    def _options(self) -> dict[str, str]:
        # Version 3 divides each picture in slices, two beside each other and two above each other; version 1 does not.
        return self.options if min(self.frames.shape[1:3]) > 1 else {"level": "1"}

    def _pixelFormat(self) -> str:
        return self._formats[self.frames.dtype.name, self.frames.components][1]

    def _picture(self, index: int) -> tuple[Pixels, str]:
        return self.frames.pixels(index)[0], self._formats[self.frames.dtype.name, self.frames.components][0]

    def _compareFrame(self, index: int, frame: av.VideoFrame) -> None:
        picture, name = self._picture(index)
        if not np.array_equal(frame.to_ndarray(format=name), picture):
            raise Different(_("Picture {index} of the file is another one than was written.").format(index=index + 1))


def _windowOf(attributes: Mapping[str, str]) -> tuple[float, float] | None:
    """Return the values for black and white by the DICOM attributes of an image, None when it has none."""
    try:
        centre, width = (float(attributes[name].split("\\")[0]) for name in ("WindowCenter", "WindowWidth"))
    except (KeyError, ValueError):
        return None
    usable = math.isfinite(centre) and math.isfinite(width) and width > 0
    return (centre - width / 2, centre + width / 2) if usable else None


def _framesOf(path: str) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yield the time in seconds and the picture of each frame of a video.

    :raises Different: the file cannot be read.
    """
    import av

    try:
        with av.open(path) as container:
            for frame in container.decode(video=0):
                if frame.pts is None or frame.time_base is None:
                    raise Different(_("A picture of the file has no time."))
                yield float(frame.pts * frame.time_base), frame
    except av.error.FFmpegError as error:
        raise Different(_("The file could not be read back: {reason}.").format(reason=reasonOf(error))) from error
