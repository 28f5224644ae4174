"""Conversion of DICOM series to NRRD: one uncompressed file for each volume, at about the speed of the disk."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..Model.Errors import SettingsError
from ..Model.NamePattern import fieldsOf
from ..Model.Settings import checkNames, typedPath
from ..Model.Text import textsOf
from .Tags import SAFE, tagsOf

NAME = "{SeriesNumber}_{SeriesDescription}"


@dataclass(frozen=True)
class ConversionSettings:
    """Settings of a conversion.

    :param input: folder with DICOM files, in any structure below it. It is only read.
    :param output: folder for the files, made when missing. It may be below the input folder, but not the same.
    :param name: pattern of the names: DICOM keywords in braces, and text. Characters that file systems reject become
        ``_``.
    :param tags: DICOM keywords to write as keys, where all files of a volume have the same value; None: :data:`SAFE`.
    :param workers: number of processes and threads, the calling one included. 0: one for each processor.
    :param strict: True: a volume with a missing, doubled or damaged slice fails. False: it is filled and reported.
    :raises SettingsError: a value is impossible.
    """

    input: str
    output: str
    name: str = NAME
    tags: tuple[str, ...] | None = None
    workers: int = 0
    strict: bool = False

    def __post_init__(self) -> None:
        for field, words in (
            ("input", _("the folder with DICOM files")),
            ("output", _("the folder for the new files")),
        ):
            given = typedPath(str(getattr(self, field)))
            if not given:
                raise SettingsError(_("Choose {what}.").format(what=words))
            object.__setattr__(self, field, given)
        if not os.path.isdir(self.input):
            raise SettingsError(_("The folder {input} does not exist.").format(input=self.input))
        if os.path.normcase(os.path.realpath(self.input)) == os.path.normcase(os.path.realpath(self.output)):
            raise SettingsError(_("Choose a folder for the new files that is not the folder of the DICOM files."))
        if not 0 <= self.workers <= 1024:
            raise SettingsError(
                _("The number of workers is 0 (one for each processor) to 1024, not {workers}.").format(
                    workers=self.workers
                )
            )
        if not self.name.strip():
            raise SettingsError(_("Enter a pattern for the file names, for example {NAME}.").format(NAME=NAME))
        if self.tags is not None:
            object.__setattr__(self, "tags", tuple(self.tags))
        tagsOf((*fieldsOf(self.name), *self.keys))

    @property
    def keys(self) -> tuple[str, ...]:
        """Keywords of the elements that become keys."""
        return tuple(SAFE) if self.tags is None else self.tags

    def toJSON(self) -> dict[str, Any]:
        """Return an object that :meth:`fromJSON` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def fromJSON(cls, values: Mapping[str, Any]) -> ConversionSettings:
        """Make the settings of an object by :meth:`toJSON`.

        :raises SettingsError: a name is unknown, or a value impossible.
        """
        checkNames(cls, values, _("The conversion"))
        return cls(**values)


if TYPE_CHECKING:
    from .Convert import Progress
    from .Report import Report

_ = textsOf(__file__)

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
    """Convert all DICOM series below a folder, each to one ``.nrrd`` or, for 4-D series, one ``.seq.nrrd``.

    Complete and unchanged results of earlier conversions are skipped. The report names failed volumes; they stop no
    other. In Slicer, use ``logic.conversion.start``, which starts a process. A program with several workers calls this
    function below ``if __name__ == "__main__":``, as Python's multiprocessing requires.

    :param input: folder with DICOM files, in any structure; it is only read.
    :param output: folder for the files, made when missing.
    :param name: pattern of the names, DICOM keywords in braces; None: ``{SeriesNumber}_{SeriesDescription}``.
    :param tags: DICOM keywords to write as keys; None: those of Tags.SAFE, which identify no patient.
    :param workers: number of processes and threads, this one included; 0: one for each processor.
    :param strict: True: a volume with a missing, doubled or damaged slice fails. False: it is filled and reported.
    :param executor: Executor for the work, such as that of a cluster (Dask: ``client.get_executor()``).
    :param onProgress: called several times a second; set ``cancelled`` of its argument to end the conversion.
    :raises SettingsError: a value is impossible.
    :raises ConversionError: the output folder is not writable, or another conversion writes there.
    :raises OSError: the report cannot be written; finished files stay.
    """
    from .Convert import Progress, convert

    chosen = None if tags is None else tuple(tags)
    settings = ConversionSettings(str(input), str(output), name or NAME, chosen, workers, strict)
    return convert(settings, executor, Progress(onProgress))
