"""What the logic does with DICOM files that are to be converted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from typing import Any

import slicer

from .Conversion.NRRDText import readHeader
from .Conversion.Settings import NAME, ConversionSettings
from .Conversions import Conversions
from .Errors import ConversionError
from .Scene.MappedImage import addMappedVolume, addReadSequence


class ConversionLogic:
    """One part of :class:`RealTimeImagingLogic`, which makes what it needs."""

    conversions: Conversions

    def convertFolder(
        self,
        input: str | PathLike[str],
        output: str | PathLike[str],
        name: str = NAME,
        tags: Sequence[str] | None = None,
        workers: int = 0,
        strict: bool = False,
        loadWhenDone: bool = False,
    ) -> None:
        """Convert all DICOM series below a folder, each to one uncompressed NRRD, in other processes.

        The window stays free; the event "converted" tells the end, "not-converted" each volume that failed and why.
        What was converted before is skipped. Parameters as of ``RealTimeImagingLib.Conversion.convertFolder``.

        :param loadWhenDone: load all files then, one by one.
        :raises SettingsError: a value that cannot work, or a conversion is under way.
        """
        chosen = None if tags is None else tuple(tags)
        settings = ConversionSettings(str(input), str(output), name, chosen, workers, strict)
        self.conversions.start(settings, loadWhenDone)

    def conversionStatus(self) -> dict[str, Any]:
        """``running``, ``progress``, ``words``, ``left``, ``failed``, ``loading``: see :class:`Conversions`."""
        return self.conversions.status()

    def conversionReport(self) -> dict[str, Any] | None:
        """The report of the last conversion, with every series: done, skipped, failed and why; None before its end."""
        return self.conversions.report

    def convertedFiles(self) -> list[str]:
        """Paths of the files of the last conversion."""
        return list(self.conversions.files)

    def cancelConversion(self) -> None:
        """End the conversion; what is done stays."""
        self.conversions.cancel()

    def loadConvertedOnce(self, path: str) -> Any:
        """Load a converted file, unless the scene has it already as it is now on disk.

        :returns: as :meth:`loadConverted`, for the node that is there or a new one.
        :raises ConversionError: it is no converted file, or cannot be read.
        """
        try:
            found = os.stat(path)
        except OSError as error:
            raise ConversionError(f"{path} cannot be opened: {error.strerror}.") from error
        key = (path, found.st_size, found.st_mtime_ns)
        node = slicer.mrmlScene.GetNodeByID(self.conversions.loaded.get(key, ""))
        if node is None:
            node = self.loadConverted(path)
            self.conversions.loaded[key] = node.GetID()
        return node

    def loadConverted(self, path: str) -> Any:
        """Load a converted file: a volume is mapped, there at once and read as it is looked at; a sequence is read.

        :returns: the volume node, or the sequence browser node.
        :raises ConversionError: it is no converted file, or cannot be read.
        """
        try:
            found = readHeader(path)
            if found.volumes is None:
                return addMappedVolume(
                    slicer.mrmlScene, path, found.offset, found.dtype, found.shape, found.ijkToRAS, found.pairs
                )
        except (OSError, ValueError) as error:
            raise ConversionError(f"{path} cannot be opened: {error}.") from error
        browser = addReadSequence(slicer.mrmlScene, slicer.modules.sequences.logic(), path)
        if browser is None:
            raise ConversionError(f"Slicer cannot read {path}.")
        return browser
