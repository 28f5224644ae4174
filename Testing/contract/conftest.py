"""Every contract test runs in one booted host; an exception in a slot or an error message of VTK fails the test."""

import json

import pytest
import slicerhost
from contract import library
from unit import crashes
from unit.recordings import ageLocks, child


@pytest.fixture(scope="session")
def slicer():
    return slicerhost.boot()


@pytest.fixture
def qt(slicer):
    import qt

    return qt


@pytest.fixture
def ctk(slicer):
    import ctk

    return ctk


@pytest.fixture
def layout(slicer):
    yield slicerhost.makeOffscreenViews(160)
    slicerhost.removeViews()


@pytest.fixture
def emptyScene(slicer):
    yield slicer.mrmlScene
    slicerhost.closeScene()


@pytest.fixture(autouse=True)
def nothingPrinted(slicer):
    for messages in (slicerhost.slotErrors, slicerhost.vtkMessages):
        messages.clear()
    before = slicer.mrmlScene.GetNumberOfNodes()
    yield
    if slicer.mrmlScene.GetNumberOfNodes() != before:
        slicerhost.closeScene()
    assert not slicerhost.slotErrors, slicerhost.slotErrors[0].text
    assert not slicerhost.vtkMessages


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """Programs with the C++ library of OpenIGTLink, by name."""
    return library.Programs(tmp_path_factory.mktemp("programs"), library.SOURCES)


@pytest.fixture
def writeModule(tmp_path):
    """Writes <name>.py with a panel whose class body is given; returns its path."""

    def write(name, widget="pass", logic="pass"):
        path = tmp_path / f"{name}.py"
        path.write_text(
            "import qt, slicer\n"
            "from slicer.ScriptedLoadableModule import *\n"
            f"class {name}(ScriptedLoadableModule):\n"
            "    def __init__(self, parent):\n"
            "        ScriptedLoadableModule.__init__(self, parent)\n"
            "        parent.title = 'Some Title'\n"
            "        parent.categories = ['IGT']\n"
            "        parent.contributors = ['Someone']\n"
            "        parent.acknowledgementText = 'Thanks'\n"
            f"class {name}Logic(ScriptedLoadableModuleLogic):\n    {logic}\n"
            f"class {name}Widget(ScriptedLoadableModuleWidget):\n"
            "    def setup(self):\n"
            "        ScriptedLoadableModuleWidget.setup(self)\n"
            f"        self.logic = {name}Logic()\n"
            "        self.button = qt.QPushButton('Start')\n"
            "        self.layout.addWidget(self.button)\n" + "".join(f"    {line}\n" for line in widget.splitlines()),
            encoding="utf-8",
        )
        return path

    yield write
    for module in list(slicerhost.boot().app.moduleManager().modulesNames()):
        slicerhost.unloadModule(module)


@pytest.fixture(scope="module")
def dies():
    """Record or repair in a process that dies at a step; return the acknowledged numbers, and whether it died."""
    process = child(crashes.__file__)

    def run(what, folder, step, after):
        process.stdin.write(json.dumps([what, str(folder), step, after]) + "\n")
        process.stdin.flush()
        stored = []
        for line in iter(process.stdout.readline, ""):
            word, value = line.split()
            if word == "end":
                ageLocks(folder)
                return stored, value == "died"
            stored.append(int(value))
        raise AssertionError("the process ended")

    yield run
    process.communicate()
    assert process.returncode == 0
