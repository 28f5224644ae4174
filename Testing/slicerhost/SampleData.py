"""The Sample Data module, as far as other modules use it: data sets are registered, and archives are unpacked."""

import os
import urllib.request
from typing import Any

import slicer


class SampleDataSource:
    """One data set; each field of its files is a list."""

    def __init__(
        self,
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        checksums: Any = None,
        loadFiles: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFileProperties: Any = None,
    ) -> None:
        fields = {
            "uris": uris,
            "fileNames": fileNames,
            "nodeNames": nodeNames,
            "checksums": checksums,
            "loadFiles": loadFiles,
            "loadFileTypes": loadFileTypes,
        }
        if isinstance(uris, str):
            fields = {name: [value] for name, value in fields.items()}
        else:
            fields = {name: [None] * len(uris) if value is None else value for name, value in fields.items()}
        if len({len(value) for value in fields.values()}) != 1:
            raise ValueError("All fields of sample data source must have the same length")
        vars(self).update(fields)
        self.sampleName, self.customDownloader = sampleName, customDownloader
        self.thumbnailFileName, self.loadFileProperties = thumbnailFileName, loadFileProperties or {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SampleDataSource) and vars(self) == vars(other)

    __hash__ = object.__hash__


class SampleDataLogic:
    """The registered data sets are in slicer.modules.sampleDataSources, a list for each category."""

    def __init__(self, logMessage: Any = None) -> None:
        self.logMessage = logMessage or (lambda message, level=0: None)

    @staticmethod
    def registerCustomSampleDataSource(category: str = "Custom", **values: Any) -> None:
        sources = vars(slicer.modules).setdefault("sampleDataSources", {}).setdefault(category, [])
        source = SampleDataSource(**values)
        if source not in sources:
            sources.append(source)

    def sourceForSampleName(self, sampleName: str) -> Any:
        for sources in slicer.modules.sampleDataSources.values():
            for source in sources:
                if source.sampleName == sampleName:
                    return source
        return None

    def downloadSamples(self, sampleName: str) -> list[Any]:
        source = self.sourceForSampleName(sampleName)
        return self.downloadFromSource(source) if source else []

    def downloadFromSource(self, source: Any, maximumAttemptsCount: int = 3) -> list[Any]:
        """Fetch and unpack archives into the cache of the scene; other types are refused by this host."""
        found = []
        files = zip(source.uris, source.fileNames, source.checksums, source.loadFileTypes, strict=True)
        for uri, name, checksum, kind in files:
            if kind != "ZipFile":
                raise NotImplementedError("this host has archives as sample data only")
            for _attempt in range(maximumAttemptsCount):
                try:
                    path = self.downloadFileIntoCache(uri, name, checksum)
                except ValueError:
                    continue
                folder = slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory() + "/" + name[: -len(".zip")]
                os.makedirs(folder, exist_ok=True)
                if slicer.util.extractArchive(path, folder):
                    found.append(folder)
                    break
        return found

    def downloadFileIntoCache(self, uri: str, name: str, checksum: Any = None) -> str:
        folder = slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()
        os.makedirs(folder, exist_ok=True)
        path: str = folder + "/" + name
        algorithm, digest = slicer.util.extractAlgoAndDigest(checksum)
        if os.path.exists(path) and (algorithm is None or slicer.util.computeChecksum(algorithm, path) == digest):
            return path
        try:
            urllib.request.urlretrieve(uri, path)
        except OSError as error:
            raise ValueError(f"Failed to download {uri} to {path}") from error
        if algorithm is not None and slicer.util.computeChecksum(algorithm, path) != digest:
            os.remove(path)
        return path


def downloadSamples(sampleName: str) -> list[Any]:
    return SampleDataLogic().downloadSamples(sampleName)


def downloadSample(sampleName: str) -> Any:
    return SampleDataLogic().downloadSamples(sampleName)[0]
