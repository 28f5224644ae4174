import json

from RealTimeImagingLib.Link.Commands import Start
from RealTimeImagingLib.Link.Messages import encode
from RealTimeImagingLib.Sources import settingsFromJSON
from RealTimeImagingLib.Sources.Folder import FolderSettings


def test_the_first_line_says_all_and_is_one_line(tmp_path):
    settings = FolderSettings(tmp_path / "ä\n b", pattern="*.nii;*.mha")
    start = Start(settings.toJSON(), ["/dev/shm/x", str(tmp_path)], "process1")
    line = encode(start)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    found = Start.fromJSON(json.loads(line))
    assert found == start
    assert settingsFromJSON(found.settings) == settings
