"""Loading, reloading and unloading a scripted module; slicer.util and slicer.app as a module uses them."""

import pytest
import slicerhost

ORDER = """\
import builtins
builtins.order.append("file")
"""


@pytest.fixture
def order(monkeypatch):
    import builtins

    calls = []
    monkeypatch.setattr(builtins, "order", calls, raising=False)
    return calls


@pytest.fixture
def panel(slicer, order, writeModule):  # the module is unloaded before `order` is gone
    """A module that notes what is called, shown once; returns slicer.modules.<name>."""
    path = writeModule(
        "Noting",
        "    order.append('setup')\ndef cleanup(self):\n    order.append('cleanup')\n"
        "def enter(self):\n    order.append('enter')\ndef exit(self):\n    order.append('exit')",
    )
    path.write_text(ORDER + path.read_text(encoding="utf-8"), encoding="utf-8")
    module = slicerhost.loadModule(path)
    module.widgetRepresentation()
    return module


def test_loading_says_what_the_module_is(slicer, panel):
    assert slicer.modules.noting is panel
    assert (panel.name, panel.title, panel.categories, panel.hidden) == ("Noting", "Some Title", ("IGT",), False)
    assert isinstance(panel, slicer.qSlicerScriptedLoadableModule)
    assert isinstance(slicer.modules.NotingInstance, slicer.ScriptedLoadableModule.ScriptedLoadableModule)
    assert slicer.moduleNames.Noting == "Noting"
    assert slicer.app.moduleManager().module("Noting") is panel
    assert slicer.util.moduleNames() == ("Noting",)
    assert slicer.util.modulePath("Noting") == panel.path


def test_the_panel_is_made_when_it_is_first_asked_for(slicer, writeModule):
    slicerhost.loadModule(writeModule("Late"))
    assert not hasattr(slicer.modules, "LateWidget")
    python = slicer.util.getModuleWidget("Late")
    assert slicer.modules.LateWidget is python
    assert slicer.util.getModuleGui("Late") is python
    assert isinstance(slicer.modules.late.widgetRepresentation(), slicer.qSlicerScriptedLoadableModuleWidget)


def test_the_logic_is_the_panels(slicer, panel):
    logic = slicer.util.getModuleLogic("Noting")
    assert type(logic).__name__ == "NotingLogic"
    assert logic is slicer.modules.NotingWidget.logic
    assert slicer.util.getModule("Noting").logic() is panel.logic()
    with pytest.raises(RuntimeError):
        slicer.util.getModule("NoSuchModule")


def test_reload_executes_the_file_before_the_old_cleanup(slicer, panel, order):
    old = slicer.modules.NotingWidget
    order.clear()
    slicerhost.reloadModule("Noting")
    assert order == ["file", "cleanup", "setup"]
    new = slicer.modules.NotingWidget
    assert new is not old
    assert panel.widgetRepresentation().self() is new
    assert new.parent is old.parent
    assert new.layout.count() == 1


def test_the_old_panel_is_not_cleaned_up_twice(slicer, panel, order):
    slicerhost.reloadModule("Noting")
    order.clear()
    slicerhost.unloadModule("Noting")
    assert order == ["cleanup"]
    assert not hasattr(slicer.modules, "noting")


def test_entering_and_leaving(panel, order):
    order.clear()
    widget = panel.widgetRepresentation()
    widget.enter()
    assert widget.isEntered is True
    widget.exit()
    assert widget.isEntered is False
    assert order == ["enter", "exit"]


def test_quitting_tells_the_application_then_cleans_up(slicer, panel, order):
    order.clear()
    slicer.app.connect("aboutToQuit()", lambda: order.append("aboutToQuit"))
    slicerhost.quit()
    slicer.app.disconnect("aboutToQuit()")
    assert order == ["aboutToQuit", "cleanup"]


def test_an_error_in_setup_is_seen(writeModule):
    module = slicerhost.loadModule(writeModule("Broken", "    1 / 0"))
    with pytest.raises(ZeroDivisionError):
        module.widgetRepresentation()


def test_generic_tests_pass_for_a_good_module_and_name_what_is_missing(slicer, writeModule):
    good = writeModule("Good")
    assert slicerhost.runGenericTests(good) == []
    bad = writeModule("Bad")
    text = bad.read_text(encoding="utf-8").replace("'Some Title'", "''").replace("['IGT']", "[]")
    bad.write_text(text.replace("'Start'", "'Start' * 300"), encoding="utf-8")
    failures = slicerhost.runGenericTests(bad)
    assert failures[:2] == ["title is empty", "categories is empty"]
    assert "pixels" in failures[2]
    assert len(failures) == 3
    assert not hasattr(slicer.modules, "bad")


UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Panel</class>
<widget class="qMRMLWidget" name="Panel"><layout class="QVBoxLayout" name="verticalLayout">
 <item><widget class="ctkCollapsibleButton" name="section"><property name="text"><string>Source</string></property>
  <layout class="QFormLayout" name="form">
   <item row="0" column="1"><widget class="qMRMLNodeComboBox" name="selector">
     <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
     <property name="noneEnabled"><bool>true</bool></property></widget></item>
   <item row="1" column="1"><widget class="ctkPathLineEdit" name="folder"/></item>
   <item row="2" column="1"><widget class="QSpinBox" name="number"><property name="value"><number>7</number></property>
    </widget></item>
  </layout></widget></item>
 <item><widget class="WIDGET" name="last"/></item>
</layout></widget>
<connections>
 <connection><sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal><receiver>selector</receiver>
  <slot>setMRMLScene(vtkMRMLScene*)</slot></connection>
 <connection><sender>number</sender><signal>valueChanged(int)</signal><receiver>last</receiver>
  <slot>setNum(int)</slot></connection>
</connections></ui>
"""


def test_aFormLayoutHasNoLabelThatWraps(slicer, tmp_path):
    """In Qt 5.15 its rows overlap when the label gets another line."""
    path = tmp_path / "Panel.ui"
    label = '<widget class="QLabel" name="state"><property name="wordWrap"><bool>true</bool></property></widget>'
    text = UI.replace("WIDGET", "QLabel").replace('<widget class="ctkPathLineEdit" name="folder"/>', label)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RuntimeError, match="label that wraps"):
        slicer.util.loadUI(str(path))


@pytest.fixture
def loadPanel(slicer, tmp_path):
    def load(lastWidget="QLabel"):
        path = tmp_path / "Panel.ui"
        path.write_text(UI.replace("WIDGET", lastWidget), encoding="utf-8")
        return slicer.util.loadUI(str(path))

    return load


def test_a_ui_file_gives_host_widgets_by_name(slicer, ctk, loadPanel):
    widget = loadPanel()
    ui = slicer.util.childWidgetVariables(widget)
    assert isinstance(ui.section, ctk.ctkCollapsibleButton)
    assert isinstance(ui.selector, slicer.qMRMLNodeComboBox)
    assert (ui.section.text, ui.number.value, ui.selector.noneEnabled) == ("Source", 7, True)
    assert ui.selector.nodeTypes == ("vtkMRMLScalarVolumeNode",)
    assert slicer.util.findChild(widget, "folder") is ui.folder


def test_a_ui_files_connections_are_made(slicer, loadPanel):
    widget = loadPanel()
    ui = slicer.util.childWidgetVariables(widget)
    assert ui.selector.mrmlScene() is None
    widget.setMRMLScene(slicer.mrmlScene)
    assert ui.selector.mrmlScene() is slicer.mrmlScene
    ui.number.value = 9
    assert ui.last.text == "9"
    widget.setMRMLScene(None)


def test_only_a_qMRMLWidget_gives_its_scene_back(slicer, panel):
    widget = slicer.qMRMLWidget()
    widget.setMRMLScene(slicer.mrmlScene)
    assert widget.mrmlScene() is slicer.mrmlScene
    for other in (slicer.qSlicerWidget(), panel.widgetRepresentation()):
        other.setMRMLScene(slicer.mrmlScene)
        with pytest.raises(AttributeError):
            other.mrmlScene()


def test_an_unknown_widget_in_a_ui_file_is_refused(loadPanel):
    with pytest.raises(RuntimeError, match="ctkNoSuchWidget"):
        loadPanel("ctkNoSuchWidget")


def test_a_ui_file_that_is_not_there(slicer):
    with pytest.raises(RuntimeError):
        slicer.util.loadUI("no-such-file.ui")


def test_no_dialog_appears_in_a_test(slicer):
    slicer.util.delayDisplay("a message", 5000)
    slicer.util.infoDisplay("a message")
    slicer.util.errorDisplay("a message")
    assert isinstance(slicer.util.confirmOkCancelDisplay("a question"), bool)
    assert slicer.app.activeModalWidget() is None
    with pytest.raises(ZeroDivisionError), slicer.util.tryWithErrorDisplay("it failed"):
        _ = 1 / 0


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("True", True), ("false", False), ("0", False), ("1", True), (None, False)]
)
def test_settings_become_booleans(slicer, text, value):
    assert slicer.util.toBool(text) is value


def test_there_is_no_main_window(slicer):
    assert slicer.util.mainWindow() is None
    assert slicer.app.commandOptions().noMainWindow is True
    assert slicer.app.testingEnabled() is True
    with pytest.raises(RuntimeError):
        slicer.util.selectModule("Noting")


def test_texts_are_translated_to_themselves(slicer):
    from slicer.i18n import tr as _
    from slicer.i18n import translate

    assert _("Start") == translate("Noting", "Start") == slicer.app.translate("Noting", "Start") == "Start"


@pytest.mark.parametrize(
    "name",
    [
        "slicer.app.noSuchThing",
        "slicer.app.ioManager()",
        "slicer.app.applicationName()",
        "slicer.app.settings.value('a')",
        "slicer.modules.noSuchModule",
        "slicer.app.commandOptions().noSuchOption",
        "slicer.util.loadVolume('a.nrrd')",
        "slicer.util.pip_install('something')",
        "slicer.parameterNodeWrapper",
        "slicer.qMRMLRangeWidget",
        "slicer.qMRMLNodeComboBox().currentNode.GetID()",
        "slicer.qMRMLNodeComboBox().currentNodeID()",
    ],
)
def test_what_the_host_lacks_is_refused(slicer, name):
    with pytest.raises((AttributeError, TypeError, ImportError)):
        eval(name)


def test_the_environment_of_the_application(slicer):
    import os
    import tempfile

    assert slicer.app.applicationName == "Slicer"
    assert slicer.app.startupEnvironment().contains("PATH")
    assert os.path.isdir(slicer.app.temporaryPath)
    assert slicer.app.temporaryPath.startswith(tempfile.gettempdir())
    assert slicer.app.applicationLogic().GetMRMLScene() is slicer.mrmlScene is slicer.app.mrmlScene()
    assert slicer.modules.volumes.logic().GetMRMLScene() is slicer.mrmlScene


def test_nothing_stays_in_the_temporary_folder():
    import subprocess
    import sys
    from pathlib import Path

    code = (
        "import slicerhost; s = slicerhost.boot(); import qt; qt.QSettings().setValue('a', 1); qt.QSettings().sync();"
        "print(s.app.temporaryPath)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(slicerhost.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    folder = Path(ran.stdout.strip())
    assert folder.name.startswith("slicerhost-")
    assert not folder.exists()
