"""DICOM series to NRRD, many at a time: one uncompressed file each, at about the speed of the disk."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..Model.Errors import SettingsError
from ..Model.Settings import typedPath
from .Tags import SAFE, fieldsOf, tagsOf

NAME = "{SeriesNumber}_{SeriesDescription}"


@dataclass(frozen=True)
class ConversionSettings:
    """A conversion.

    :param input: folder with DICOM files, in any structure below it. It is only read.
    :param output: folder for the files; it is made when missing. It may lie in the input folder, but not be it.
    :param name: pattern of their names: DICOM keywords in braces, and text. What no file system takes becomes ``_``.
    :param tags: DICOM keywords to write as keys, where all files of a volume have the same value; None: :data:`SAFE`.
    :param workers: processes; 1: none beside the one that calls. 0: one for each processor.
    :param strict: a volume with a missing, doubled or damaged slice fails; otherwise it is filled and named.
    :raises SettingsError: a value that cannot work.
    """

    input: str
    output: str
    name: str = NAME
    tags: tuple[str, ...] | None = None
    workers: int = 0
    strict: bool = False

    def __post_init__(self) -> None:
        for field, words in (("input", "the folder with DICOM files"), ("output", "the folder for the new files")):
            given = typedPath(str(getattr(self, field)))
            if not given:
                raise SettingsError(f"Choose {words}.")
            object.__setattr__(self, field, given)
        if not os.path.isdir(self.input):
            raise SettingsError(f"The folder {self.input} is not there.")
        if os.path.normcase(os.path.realpath(self.input)) == os.path.normcase(os.path.realpath(self.output)):
            raise SettingsError("Choose another folder for the new files than that of the DICOM files.")
        if not 0 <= self.workers <= 1024:
            raise SettingsError(f"{self.workers} workers cannot be; 0 is one for each processor.")
        if not self.name.strip():
            raise SettingsError(f"Choose how the files are named, for example {NAME}.")
        if self.tags is not None:
            object.__setattr__(self, "tags", tuple(self.tags))
        tagsOf((*fieldsOf(self.name), *self.keys))

    @property
    def keys(self) -> tuple[str, ...]:
        """The keywords of what becomes keys."""
        return tuple(SAFE) if self.tags is None else self.tags

    def toJSON(self) -> dict[str, Any]:
        """An object that :meth:`fromJSON` takes back."""
        return dataclasses.asdict(self)

    @classmethod
    def fromJSON(cls, values: Mapping[str, Any]) -> ConversionSettings:
        """The settings that :meth:`toJSON` wrote.

        :raises SettingsError: a name or a value that cannot be.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise SettingsError(f"The conversion cannot be understood: {error}") from error


if TYPE_CHECKING:
    from .Convert import Progress
    from .Report import Report

__all__ = ["convertFolder"]


def convertFolder(
    input: str | PathLike[str],
    output: str | PathLike[str],
    *,
    name: str | None = None,
    tags: Sequence[str] | None = None,
    workers: int = 0,
    strict: bool = False,
    executor: Executor | None = None,
    onProgress: Callable[[Progress], object] = lambda _: None,
) -> Report:
    """Convert all DICOM series below a folder, each to one ``.nrrd`` or, when it is 4-D, one ``.seq.nrrd``.

    What was converted before, and is whole and unchanged, is skipped. Volumes that fail are named in the report and
    stop no other. Not in Slicer's own Python: there ``logic.conversion.start`` starts a process for it. With several
    workers, a program calls it below ``if __name__ == "__main__":``, as Python's multiprocessing asks for.

    :param input: folder with DICOM files, in any structure; it is only read.
    :param output: folder for the files; it is made when missing.
    :param name: pattern of their names, DICOM keywords in braces; None: ``{SeriesNumber}_{SeriesDescription}``.
    :param tags: DICOM keywords to write as keys; None: those of Tags.SAFE, which identify nobody.
    :param workers: processes, this one among them; 0: one for each processor.
    :param strict: a volume with a missing, doubled or damaged slice fails, instead of being filled and named.
    :param executor: any Executor does the work, such as that of a cluster (Dask: ``client.get_executor()``).
    :param onProgress: called several times a second; setting ``cancelled`` of what it gets ends the conversion.
    :raises SettingsError: a value that cannot work.
    :raises ConversionError: the output folder cannot be written, or another conversion writes there.
    :raises OSError: the report cannot be written; what is done stays.
    """
    from .Convert import Progress, convert

    chosen = None if tags is None else tuple(tags)
    settings = ConversionSettings(str(input), str(output), name or NAME, chosen, workers, strict)
    return convert(settings, executor, Progress(onProgress))
