"""What to convert, and how."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..Errors import SettingsError
from ..Settings.Paths import typedPath
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
