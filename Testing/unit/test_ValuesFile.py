"""Values of frames in CSV files beside a recording."""

from __future__ import annotations

import csv
import math
import os

from RealTimeImagingLib.Recording.ValuesFile import MOST_COLUMNS, ValuesFile


def rowsOf(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_aRowForEachFrame(tmp_path):
    file = ValuesFile(str(tmp_path), "Run 1", "Live mean")
    assert file.path == ""
    assert file.append(3, 1700000000.25, {"mean": 0.1, "n, all": 3})
    assert file.append(4, 1700000001.0, {"mean": math.nan})
    file.close()
    assert os.path.basename(file.path) == "Run_1-Live_mean.values.csv"
    assert rowsOf(file.path) == [
        ["Frame", "Time", "mean", "n, all"],
        ["3", "1700000000.250000", "0.1", "3.0"],
        ["4", "1700000001.000000", "", ""],
    ]
    if os.name == "posix":
        assert os.stat(file.path).st_mode & 0o777 == 0o600


def test_aNewNameBecomesAColumnOfAllRows(tmp_path):
    file = ValuesFile(str(tmp_path), "Run", "f")
    for number, values in enumerate(({"a": 1}, {"b": 2}, {"c": 3, "a": 4})):
        assert file.append(number, float(number), values)
    file.close()
    assert rowsOf(file.path) == [
        ["Frame", "Time", "a", "b", "c"],
        ["0", "0.000000", "1.0", "", ""],
        ["1", "1.000000", "", "2.0", ""],
        ["2", "2.000000", "4.0", "", "3.0"],
    ]
    assert os.listdir(tmp_path) == ["Run-f.values.csv"]


def test_namesAreLimited(tmp_path):
    file = ValuesFile(str(tmp_path), "Run", "f")
    assert file.append(0, 0.0, {str(number): number for number in range(MOST_COLUMNS + 50)})
    assert file.append(1, 1.0, {"more": 1})
    file.close()
    assert {len(row) for row in rowsOf(file.path)} == {MOST_COLUMNS}


def test_nothingIsOverwritten(tmp_path):
    names = []
    for _round in range(3):
        file = ValuesFile(str(tmp_path), "Run", "f")
        assert file.append(0, 0.0, {"a": 1})
        file.close()
        names.append(os.path.basename(file.path))
    assert names == ["Run-f.values.csv", "Run-f_1.values.csv", "Run-f_2.values.csv"]


def test_aFolderThatCannotBeWrittenIsOneEvent(tmp_path):
    folder = tmp_path / "file"
    folder.touch()
    file = ValuesFile(str(folder), "Run", "f")
    assert [file.append(number, 0.0, {"a": 1}) for number in range(3)] == [False] * 3
    (event,) = file.events()
    assert event.code == "values-not-stored"
    assert str(folder) in event.text
    assert file.events() == []
    folder.unlink()
    folder.mkdir()
    assert file.append(3, 0.0, {"a": 1})
    file.close()
    assert rowsOf(file.path)[1:] == [["3", "0.000000", "1.0"]]
