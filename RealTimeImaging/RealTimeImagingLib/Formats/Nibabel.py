"""PAR/REC (Philips), HEAD/BRIK (AFNI) and MGH/MGZ (FreeSurfer): nibabel reads the headers, the voxels are read here.

So half-written files, limits and memory are as in the other readers. nibabel is imported at the point of use.
"""

from __future__ import annotations

import io
import re
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..Model.Errors import NotAnImageError
from ..Model.Files import decodedText
from ..Model.Frame import Matrix, Pixels
from ..Model.Packages import NIBABEL_PACKAGES, checkPackages
from ..Model.Text import textsOf
from .ImageFile import DEFAULT_LIMIT, VolumeFile, Volumes, sinceFirst
from .Inflate import Inflated, Streamed, isPacked
from .Pairs import voxelsOf
from .Raw import RawBytes, Stored, readStart
from .TextHeader import checkInside

_ = textsOf(__file__)

_LONGEST = 32 << 20
"""Most bytes of a header: some 100,000 images in a PAR file."""
_MOST_SLICES, _MOST_VOLUMES = 1 << 14, 1 << 20
"""Most slices and volumes that a header may declare, because nibabel makes lists of them."""


@dataclass(frozen=True)
class Declared:
    """Content of a header.

    :param volumes: as in the header; the voxels are put in when they are read.
    :param order: place in the file of each slice; empty when the file is in order.
    :param stored: slices in the file, which may be more than those in use.
    """

    volumes: Volumes
    order: Sequence[int] = ()
    stored: int = 0


class NibabelFile(VolumeFile):
    """Reader of a header that nibabel understands."""

    paired = True

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(path, limit)
        self._data = b""
        self._known: Declared | str = ""

    @property
    def files(self) -> tuple[str, ...]:
        return (self.path, voxelsOf(self.path)) if self.paired else (self.path,)

    @abstractmethod
    def _parsed(self, data: bytes) -> Declared | str:
        """Return the content of a header, or a sentence about its missing part.

        :raises NotAnImageError: it is no such header, or nibabel does not support it.
        """

    def _declared(self) -> Volumes | str:
        data = self._readHeader()
        if data != self._data or not self._known:
            # nibabel warns about every oddity.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._known, self._data = self._parsed(data), data
        known = self._known
        return known if isinstance(known, str) else replace(known.volumes, stored=self._voxels(known))

    def _missing(self) -> str | None:
        words = super()._missing()
        # The end of the voxels proves nothing about a header in another file.
        self.sealed = self.sealed and not self.paired
        return words

    def _readHeader(self) -> bytes:
        data = readStart(self.path, _LONGEST)
        if len(data) == _LONGEST:
            text = _("The header has more than {size:,} bytes.").format(size=_LONGEST)
            raise NotAnImageError(text, "too-large")
        return data

    def _voxels(self, known: Declared) -> Stored:
        path = self.files[-1]
        checkInside(self.path, [path])
        if path.lower().endswith(".gz"):
            if (path,) not in self._made:
                self._made[path,] = (Streamed if self.streaming else Inflated)(path, self.limit, detached=True)
            return self._made[path,]
        raw = RawBytes(path, 0, detached=self.paired)
        if not known.stored:
            return raw
        return Reordered(raw, known.volumes.bytes // max(1, len(known.order)), known.order, known.stored)


class Reordered(Stored):
    """Slices of equal length in any order.

    :param size: bytes of a slice.
    :param order: place in the file of each slice.
    :param count: slices in the file.
    """

    def __init__(self, raw: Stored, size: int, order: Sequence[int], count: int) -> None:
        self._raw, self._size, self._order, self._count = raw, size, order, count

    def missing(self, size: int) -> str | None:
        return self._raw.missing(self._size * self._count)

    def readInto(self, start: int, target: Pixels) -> None:
        for number in range(start // self._size, (start + len(target)) // self._size):
            place = number * self._size - start
            self._raw.readInto(self._order[number] * self._size, target[place : place + self._size])


_PAR_END = "END OF DATA DESCRIPTION FILE"
_PAR_VERSION = re.compile(r"image export tool\s+(\S+)")
_SAME = (
    *("image pixel size", "recon resolution", "slice orientation"),
    *("slice thickness", "slice gap", "pixel spacing"),
)
"""Columns of a PAR file with one value for all images, according to nibabel."""
_PAR_TYPES = {0: "M", 1: "R", 2: "I", 3: "P"}
"""Kinds of images (image_type_mr), as in the third value of DICOM's ImageType."""
_PAR_ATTRIBUTES = {
    "EchoNumbers": "echo number",
    "EchoTime": "echo_time",
    "TemporalPositionIdentifier": "dynamic scan number",
    "ImageType": "image_type_mr",
    "FlipAngle": "image_flip_angle",
    "DiffusionBValue": "diffusion_b_factor",
    "TriggerTime": "trigger_time",
    "LabelType": "label type",
}
"""Names of attributes, as in DICOM, and the columns of a PAR file."""


class PARREC(NibabelFile):
    """Reader of Philips PAR files of the versions 4, 4.1 and 4.2, with their voxels in a REC file.

    Volumes are in nibabel's strict order: kind, dynamic, label, b-value, direction, phase, echo. Values are those that
    the console shows (DV = PV * RS + RI). Slices of a volume that was aborted are left out and noted. Geometry is
    nibabel's, of the whole scan. Times are those at which the dynamics began.
    """

    title = "PAR/REC"

    def _parsed(self, data: bytes) -> Declared | str:
        text = decodedText(data.strip(b"\0 \t\r\n\xef\xbb\xbf"))
        if text and not text.startswith("#"):
            raise NotAnImageError(_("A PAR file begins with #; this file does not."))
        if _PAR_END not in text:
            return _("The PAR file has {size:,} bytes so far; its last line is missing.").format(size=len(data))
        version = _PAR_VERSION.search(text)
        if version is None:
            raise NotAnImageError(_("A PAR file names its version; this file does not."))
        checkPackages(NIBABEL_PACKAGES)
        from nibabel.parrec import PARRECHeader, image_def_dtds, parse_PAR_header

        if version[1] not in image_def_dtds:
            raise NotAnImageError(
                _("The PAR file has the version {version}; {others} are read.").format(
                    version=version[1][:20], others=", ".join(image_def_dtds)
                ),
                "unsupported",
            )
        info, rows = parse_PAR_header(io.StringIO(text))
        if not len(rows) or not 0 < info["max_slices"] <= _MOST_SLICES:
            text = _("The PAR file lists {count} images of {slices} slices.")
            raise NotAnImageError(text.format(count=len(rows), slices=info["max_slices"]), "damaged")
        for name in _SAME:
            if np.diff(rows[name], axis=0).any():
                raise NotAnImageError(
                    _("The images of the PAR file differ in {name}. Export each kind of images alone.").format(
                        name=name.replace("recon ", "")
                    ),
                    "unsupported",
                )
        header = PARRECHeader(info, rows, permit_truncated=True, strict_sort=True)
        return self._described(header, info, rows)

    def _described(self, header: Any, info: Mapping[str, Any], rows: Any) -> Declared:
        columns, height, slices, count = (*map(int, header.get_data_shape()), 1)[:4]
        order = header.get_sorted_slice_indices().tolist()
        scale = np.stack(header.get_data_scaling("dv"), axis=-1).reshape((slices, count, 2), order="F")
        if not np.isfinite(scale).all():
            raise NotAnImageError(_("The PAR file has a scale that is not finite."), "damaged")
        firsts = rows[order[::slices]]
        shared, each = _attributesOf(firsts)
        shared["SeriesDescription"] = info["protocol_name"]
        shared["RepetitionTime"] = "\\".join(f"{value:g}" for value in np.ravel(info["repetition_time"]))
        return Declared(
            Volumes(
                RawBytes(self.path, 0),
                header.get_data_dtype(),
                (count, slices, height, columns),
                "tkji",
                np.array(header.get_affine(), np.float64),
                {name: value for name, value in shared.items() if value},
                each if count > 1 else (),
                scale=None if (scale == (1, 0)).all() else scale.swapaxes(0, 1),
                times=sinceFirst(firsts["dyn_scan_begin_time"].tolist()),
                notes=_parNotes(info, len(rows), slices, count),
            ),
            order=order,
            stored=len(rows),
        )


def _attributesOf(firsts: Any) -> tuple[dict[str, str], list[dict[str, str]]]:
    # Attributes of all volumes, and those of each, by the first slice of each.
    shared: dict[str, str] = {}
    each: list[dict[str, str]] = [{} for _first in firsts]
    for name, column in _PAR_ATTRIBUTES.items():
        if column not in firsts.dtype.names:
            continue
        values = firsts[column].tolist()
        words = [_PAR_TYPES.get(value, "") if name == "ImageType" else f"{value:g}" for value in values]
        if len(set(values)) > 1:
            for found, word in zip(each, words, strict=True):
                found[name] = word
        elif values[0] or name == "ImageType":
            shared[name] = words[0]
    return shared, each


def _parNotes(info: Mapping[str, Any], images: int, slices: int, count: int) -> tuple[str, ...]:
    notes = []
    if extra := images - slices * count:
        text = _("{count} of {all} images belong to incomplete volumes and are left out.")
        notes.append(text.format(count=extra, all=images))
    if slices < info["max_slices"]:
        text = _("The scan declares {all} slices; {count} are there.")
        notes.append(text.format(all=info["max_slices"], count=slices))
    if count < info["max_dynamics"]:
        text = _("The scan declares {all} time points; {count} are complete.")
        notes.append(text.format(all=info["max_dynamics"], count=count))
    return tuple(notes)


_BLOCK = re.compile(r"type\s*=\s*(\w+)-attribute\s*\nname\s*=\s*(\w+)\s*\ncount\s*=\s*(\d+)\s*\n(.*)", re.DOTALL)
_REQUIRED = ("DATASET_RANK", "DATASET_DIMENSIONS", "BRICK_TYPES", "DELTA", "ORIENT_SPECIFIC", "ORIGIN")
_BRICK_TYPES = (0, 1, 3)
"""Types of voxels that nibabel reads and Slicer shows: uint8, int16, float32."""
_TIME_UNITS = {77001: 1e-3, 77002: 1.0}
"""Milliseconds and seconds (AFNI's README.attributes, TAXIS_NUMS)."""


class AFNI(NibabelFile):
    """Reader of AFNI datasets: a HEAD file, with its voxels in a BRIK or BRIK.gz file.

    A HEAD file does not mark its end: it is complete when its last attribute is, and all necessary ones are there.
    BRICK_FLOAT_FACS scale the volumes. Geometry is IJK_TO_DICOM_REAL, or in old files ORIENT_SPECIFIC, ORIGIN and
    DELTA. Attributes: Label of each volume.
    """

    title = "AFNI"

    def _parsed(self, data: bytes) -> Declared | str:
        text = re.sub(r"\n{2,}", "\n\n", decodedText(data.strip(b"\0 \t\r\n")).replace("\r\n", "\n"))
        if text[:4] != "type"[: len(text)]:
            raise NotAnImageError(_('An AFNI header begins with "type ="; this file does not.'))
        last = _BLOCK.fullmatch(text.rpartition("\n\n")[2])
        if last is None or not _isWhole(last):
            return _("The header has {size:,} bytes so far; its last attribute is not complete.").format(size=len(data))
        names = set(re.findall(r"^name\s*=\s*(\w+)", text, re.MULTILINE))
        if absent := [name for name in _REQUIRED if name not in names]:
            return _("The header has no attribute {name} so far.").format(name=absent[0])
        checkPackages(NIBABEL_PACKAGES)
        from nibabel.brikhead import AFNIHeader, parse_AFNI_header

        info = parse_AFNI_header(io.StringIO(text))
        # Old files have neither; then nibabel stops.
        info.setdefault("BYTEORDER_STRING", "LSB_FIRST")
        info.setdefault("IJK_TO_DICOM_REAL", _realMatrix(info))
        kinds = set(np.ravel(info["BRICK_TYPES"]).tolist())
        if len(kinds) > 1 or not kinds.issubset(_BRICK_TYPES):
            words = _("The voxels have the AFNI types {kinds}; one of the types {others} for all volumes is read.")
            raise NotAnImageError(
                words.format(kinds=", ".join(map(str, sorted(kinds))), others=", ".join(map(str, _BRICK_TYPES))),
                "unsupported",
            )
        if not 0 < info["DATASET_RANK"][1] <= _MOST_VOLUMES:
            text = _("The header declares {count:,} volumes.").format(count=info["DATASET_RANK"][1])
            raise NotAnImageError(text, "too-large")
        header = AFNIHeader(info)
        sizes = tuple(map(int, header.get_data_shape()))
        factors = header.get_data_scaling()
        scale = None if factors is None else np.stack([factors, np.zeros_like(factors)], axis=-1)[:, np.newaxis]
        labels = (header.get_volume_labels() or []) if sizes[3] > 1 else []
        return Declared(
            Volumes(
                RawBytes(self.path, 0),
                header.get_data_dtype(),
                sizes[::-1],
                "tkji",
                np.array(header.get_affine(), np.float64),
                each=[{"Label": one} for one in labels] if len(labels) == sizes[3] else (),
                scale=scale,
                times=_afniTimes(info, sizes[3]),
            )
        )


def _isWhole(block: re.Match[str]) -> bool:
    kind, _name, count, values = block.groups()
    return values.rstrip().endswith("~") if kind == "string" else len(values.split()) >= int(count[:9])


def _afniTimes(info: Mapping[str, Any], count: int) -> list[float] | None:
    try:
        step = float(info["TAXIS_FLOATS"][1]) * _TIME_UNITS[info["TAXIS_NUMS"][2]]
    except (KeyError, IndexError, TypeError):
        return None
    return sinceFirst(number * step for number in range(count))


def _realMatrix(info: Mapping[str, Any]) -> list[float]:
    # IJK to DICOM coordinates by README.attributes: ORIENT_SPECIFIC has two codes for each direction in space.
    matrix = np.zeros((3, 4))
    for axis in range(3):
        direction = int(info["ORIENT_SPECIFIC"][axis]) // 2
        matrix[direction, axis] = info["DELTA"][axis]
        matrix[direction, 3] = info["ORIGIN"][axis]
    return list(matrix.ravel())


_MGH_HEADER, _MGH_VOXELS = 90, 284
"""Bytes of the header that are read, and offset of the voxels (FreeSurfer's MghFormat)."""
_MGH_TYPES = (0, 1, 3, 4)


class MGH(NibabelFile):
    """Reader of FreeSurfer volumes: .mgh, and .mgz, which is compressed. Frames are volumes without times."""

    title = "MGH"
    paired = False

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(path, limit)
        self._inflated: Inflated | Streamed | None = None

    def _readHeader(self) -> bytes:
        packed = self._packed()
        return packed.start(_MGH_HEADER) if packed else readStart(self.path, _MGH_HEADER)

    def _voxels(self, known: Declared) -> Stored:
        return self._packed() or RawBytes(self.path, _MGH_VOXELS)

    def _packed(self) -> Inflated | Streamed | None:
        if self._inflated is None and isPacked(self.path, (".mgz", ".gz")):
            self._inflated = (Streamed if self.streaming else Inflated)(self.path, self.limit, skip=_MGH_VOXELS)
        return self._inflated

    def _parsed(self, data: bytes) -> Declared | str:
        if len(data) < _MGH_HEADER or not any(data):
            return _("An MGH header has {size} bytes; {count:,} are present.").format(
                size=_MGH_HEADER, count=len(data) if any(data) else 0
            )
        version, *sizes, kind = np.frombuffer(data, ">i4", 6).tolist()
        if version != 1:
            raise NotAnImageError(_("An MGH file begins with the number 1; this file does not."))
        if kind not in _MGH_TYPES:
            raise NotAnImageError(
                _("The voxels have the MGH type {kind}, which is not read.").format(kind=kind), "unsupported"
            )
        checkPackages(NIBABEL_PACKAGES)
        from nibabel.freesurfer.mghformat import MGHHeader

        header = MGHHeader(data)
        matrix: Matrix = np.array(header.get_affine(), np.float64)
        return Declared(Volumes(RawBytes(self.path, 0), header.get_data_dtype(), tuple(sizes[::-1]), "tkji", matrix))
