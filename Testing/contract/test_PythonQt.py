"""The attribute, call and connection rules of PythonQt, as measured in Slicer."""

import pytest
import slicerhost


@pytest.fixture
def names(qt):
    return {
        "qt": qt,
        "b": qt.QPushButton("x"),
        "s": qt.QSpinBox(),
        "c": qt.QComboBox(),
        "le": qt.QLineEdit("text"),
        "check": qt.QCheckBox(),
        "label": qt.QLabel("l"),
        "t": qt.QTimer(),
        "p": qt.QProcess(),
        "layout": qt.QVBoxLayout(),
        "slider": qt.QSlider(qt.Qt.Horizontal),
        "table": qt.QTableWidget(2, 3),
        "edit": qt.QTextEdit("words"),
        "font": qt.QFont(),
    }


REFUSED = [
    # a property hides its getter
    ("b.text()", TypeError),
    ("b.width()", TypeError),
    ("b.objectName()", TypeError),
    ("b.toolTip()", TypeError),
    ("s.value()", TypeError),
    ("c.currentIndex()", TypeError),
    ("c.currentText()", TypeError),
    ("c.currentData()", TypeError),
    ("c.count()", TypeError),
    ("le.text()", TypeError),
    ("check.checked()", TypeError),
    ("t.interval()", TypeError),
    # nothing new on a C++ object
    ("b.active = False", AttributeError),
    ("b.width = 3", AttributeError),
    ("b.setEnabled = 3", AttributeError),
    ("b.clicked = 3", AttributeError),
    ("t.singleShot = True", AttributeError),
    ("t.callback = print", AttributeError),
    ("b.raise_x", AttributeError),
    ("b.emit", AttributeError),
    # values that a property does not take, or would store as nonsense
    ("s.value = '7'", AttributeError),
    ("s.value = None", AttributeError),
    ("b.text = None", AttributeError),
    ("b.text = 3", AttributeError),
    # keyword arguments
    ("b.setText(text='z')", ValueError),
    ("qt.QLabel(text='kw')", ValueError),
    ("qt.QTimer(parent=None)", ValueError),
    ("qt.QFileDialog.getOpenFileName(caption='x')", ValueError),
    # names PythonQt has not got
    ("qt.QNope", AttributeError),
    ("qt.pyqtSignal", AttributeError),
    ("qt.QtCore.QNope", AttributeError),
    ("qt.QtCore.QWidget", AttributeError),
    # connections that PythonQt only prints a line about
    ("b.connect('clickd()', print)", AttributeError),
    ("b.connect('clicked', print)", AttributeError),
    ("b.connect('clicked()', 3)", TypeError),
    ("b.connect('clicked()', b, 'click()')", TypeError),
    ("b.clicked.connect(None)", TypeError),
    # quirks
    ("qt.QHostAddress('127.0.0.1')", TypeError),
    ("qt.QTimer.singleShot(0, None)", TypeError),
    ("p.start('echo a b')", TypeError),
    ("p.write(3)", TypeError),
    ("qt.QSignalBlocker(b).__enter__()", AttributeError),
]

ONE_QT_ONLY = [
    # gone in Qt 6
    "layout.margin",
    "layout.setMargin(3)",
    "qt.QRegExp",
    "qt.QRegExpValidator",
    "qt.QDesktopWidget",
    "qt.QFontMetrics(font).width('a')",
    "qt.QMatrix",
    "c.connect('currentIndexChanged(QString)', print)",
    "c.connect('activated(QString)', print)",
    "s.connect('valueChanged(QString)', print)",
    "p.connect('error(QProcess::ProcessError)', print)",
    "qt.QWidget().getContentsMargins()",
    "edit.setTabStopWidth(3)",
    "label.pixmap()",
    "qt.QApplication.desktop()",
    # not yet in Qt 5
    "check.checkStateChanged",
    "check.connect('checkStateChanged(Qt::CheckState)', print)",
    "t.id()",
    "qt.QStringConverter",
    "qt.QPermission",
    "s.returnPressed",
]


@pytest.mark.parametrize(("line", "error"), REFUSED)
def test_refused(names, line, error):
    with pytest.raises(error):
        exec(line, names)


@pytest.mark.parametrize("line", ONE_QT_ONLY)
def test_refused_because_only_one_qt_has_it(names, line):
    with pytest.raises((AttributeError, TypeError)):
        exec(line, names)


ACCEPTED = [
    # properties
    ("b.text", "x"),
    ("b.enabled", True),
    ("check.checked", False),
    ("s.value", 0),
    ("c.count", 0),
    ("le.text", "text"),
    ("t.active", False),
    ("label.text", "l"),
    # methods with another name than a property
    ("b.isEnabled()", True),
    ("check.isChecked()", False),
    ("t.isActive()", False),
    ("t.isSingleShot()", False),
    ("edit.toPlainText()", "words"),
    ("b.setText('y')", None),
    ("b.className()", "QPushButton"),
    ("b.inherits('QAbstractButton')", True),
    ("p.exitCode()", 0),
    ("table.rowCount", 2),
    ("table.columnCount", 3),
    # enumerations are numbers
    ("p.state() == qt.QProcess.NotRunning == 0", True),
    ("int(qt.QProcess.Running)", 2),
    ("qt.QProcess.Crashed + 0", 1),
    ("t.timerType", 1),
    ("slider.orientation", 1),
    ("slider.setOrientation(2)", None),
    ("slider.setOrientation(qt.Qt.Vertical)", None),
    ("qt.QSlider(1).orientation", 1),
    ("label.setAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)", None),
    ("label.setAlignment(130)", None),
    ("check.checkState() == qt.Qt.Unchecked == 0", True),
    ("qt.QSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Fixed).verticalPolicy()", 0),
    ("b.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)", None),
    ("qt.QFrame.Shape(1)", 1),
    ("qt.QHostAddress(qt.QHostAddress.LocalHost).toString()", "127.0.0.1"),
    ("qt.QMessageBox.Ok", 1024),
    # lists are tuples
    ("qt.QFileSystemWatcher(['.']).directories()", (".",)),
    ("qt.QFileSystemWatcher(['.']).files()", ()),
    ("b.children()", ()),
    # the rest
    ("c.addItem('one', 7), c.currentData, c.itemText(0), c.findData(7)", (None, 7, "one", 0)),
    ("c.addItems(['a', 'b']), c.count", (None, 2)),
    ("table.setItem(0, 0, qt.QTableWidgetItem('cell')), table.item(0, 0).text()", (None, "cell")),
    ("qt.QSignalBlocker(b) is not None and b.signalsBlocked()", False),
    ("qt.QApplication.instance().className()", "qSlicerApplication"),
    ("qt.QUrl('file:///a').scheme()", "file"),
    ("qt.QElapsedTimer().isValid()", False),
    ("qt.QByteArray(b'abc').data()", b"abc"),
    # the classes are flat: only inherits() knows the bases
    ("isinstance(b, qt.QPushButton), isinstance(b, qt.QWidget), isinstance(b, qt.QObject)", (True, False, False)),
    ("issubclass(qt.QPushButton, qt.QPushButton), issubclass(qt.QPushButton, qt.QWidget)", (True, False)),
    ("b.inherits('QPushButton'), b.inherits('QWidget'), b.inherits('QLabel')", (True, True, False)),
    # what exists although nothing that matters uses it
    ("issubclass(qt.QThread, qt.QThread), issubclass(qt.QThreadPool, qt.QThreadPool)", (True, True)),
    ("callable(qt.Slot), callable(qt.Property), callable(qt.qDebug)", (True, True, True)),
    ("qt.SIGNAL('clicked()')", "2clicked()"),
    ("b.connect(qt.SIGNAL('clicked()'), print)", True),
    ("qt.QtCore.QTimer().interval", 0),
    ("setattr(b, 'icon', qt.QIcon()), b.icon.isNull()", (None, True)),
    ("setattr(t, 'timerType', 0), t.timerType", (None, 0)),
]


@pytest.mark.parametrize(("line", "result"), ACCEPTED)
def test_accepted(names, line, result):
    found = eval(line, names)
    assert found == result
    assert type(found) is type(result) or isinstance(found, type(result))


def test_a_slot_gets_as_many_arguments_as_it_takes(qt):
    button, got = qt.QPushButton(), []
    assert button.connect("clicked(bool)", lambda: got.append("none")) is True
    button.connect("clicked(bool)", lambda value: got.append(value))
    button.clicked.connect(lambda *values: got.append(values))
    button.click()
    assert got == ["none", False, (False,)]


def test_connect_holds_its_receiver_until_disconnected(qt):
    import gc
    import weakref

    class Receiver:
        def slot(self):
            pass

    button, receiver = qt.QPushButton(), Receiver()
    button.connect("clicked()", receiver.slot)
    alive = weakref.ref(receiver)
    del receiver
    gc.collect()
    assert alive() is not None
    assert button.disconnect("clicked()", alive().slot) is True
    gc.collect()
    assert alive() is None


def test_a_disconnected_slot_is_not_called(qt):
    button, got = qt.QPushButton(), []

    def slot():
        got.append(1)

    button.connect("clicked()", slot)
    button.clicked.connect(slot)
    assert button.disconnect("clicked()", slot) is True
    button.clicked.disconnect(slot)
    assert button.disconnect("clicked()", slot) is False
    button.click()
    assert got == []


def test_an_exception_in_a_slot_is_kept_and_not_raised(qt):
    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert slicerhost.slotErrors.pop().type is ZeroDivisionError


def test_an_exception_in_an_observer_is_kept(slicer):
    node = slicer.vtkMRMLScalarVolumeNode()
    node.AddObserver("ModifiedEvent", lambda *_: 1 / 0)
    node.Modified()
    assert slicerhost.slotErrors.pop().type is ZeroDivisionError


def test_messages_of_vtk_are_kept(slicer):
    slicer.mrmlScene.CreateNodeByClass("vtkMRMLNoSuchNode")
    import vtkmodules.vtkCommonCore as core

    core.vtkOutputWindow.GetInstance().DisplayErrorText("Something is wrong")
    assert "Something is wrong" in slicerhost.vtkMessages[-1]
    slicerhost.vtkMessages.clear()


def test_a_destroyed_object_says_so(qt):
    parent = qt.QWidget()
    button = qt.QPushButton("x", parent)
    parent.delete()
    with pytest.raises(ValueError, match="Trying to call 'click' on a destroyed QPushButton object"):
        button.click()
    with pytest.raises(ValueError, match="destroyed QPushButton"):
        _ = button.text
    with pytest.raises(ValueError, match="destroyed QPushButton"):
        button.text = "y"


def test_children_are_attributes_by_name(qt):
    parent = qt.QWidget()
    layout, button = qt.QVBoxLayout(parent), qt.QPushButton()
    button.name = "apply"
    layout.addWidget(button)
    assert parent.apply is button
    assert parent.findChild(qt.QPushButton, "apply") is button
    assert parent.findChildren("QPushButton") == (button,)
    assert parent.layout() is layout


def test_a_dynamic_property_becomes_an_attribute(qt):
    widget = qt.QWidget()
    widget.setProperty("mark", "one")
    assert widget.mark == widget.property("mark") == "one"
    widget.mark = "two"
    assert widget.property("mark") == "two"


def test_a_subclass_may_have_its_own_attributes_and_signals(qt):
    class Device(qt.QObject):
        changed = qt.Signal(int)

        def __init__(self):
            qt.QObject.__init__(self)
            self.count = 3

    device, got = Device(), []
    assert device.changed.connect(lambda value: got.append(value + device.count)) is True
    with pytest.raises(AttributeError, match=r"use \.changed\.connect"):  # PythonQt prints and returns False
        device.connect("changed(int)", got.append)
    device.changed.connect(got.append)
    device.changed.emit(4)
    assert got == [7, 4]
    device.changed.disconnect(got.append)
    device.changed.emit(5)
    assert got == [7, 4, 8]
    assert isinstance(device, Device)
    assert isinstance(device, qt.QObject)
    device.delete()


def test_an_object_made_by_cplusplus_follows_the_rules(qt):
    combo = qt.QComboBox()
    combo.editable = True
    assert combo.lineEdit().text == ""
    assert isinstance(combo.lineEdit(), qt.QLineEdit)
    assert combo.sizePolicy.horizontalPolicy() == qt.QSizePolicy.Preferred


def test_a_python_object_filters_the_events_of_a_widget(qt):
    class Filter(qt.QObject):
        def __init__(self, parent):
            qt.QObject.__init__(self, parent)
            self.seen = []

        def eventFilter(self, watched, event):
            self.seen.append(event.type())
            return event.type() == qt.QEvent.User

    widget = qt.QWidget()
    filtering = Filter(widget)
    widget.installEventFilter(filtering)
    widget.setEnabled(False)
    assert qt.QEvent.EnabledChange in filtering.seen
    widget.removeEventFilter(filtering)
    seen = len(filtering.seen)
    widget.setEnabled(True)
    assert len(filtering.seen) == seen


def test_a_timer_runs_and_single_shots_fire_once(qt):
    timer, got = qt.QTimer(), []
    timer.setSingleShot(True)
    timer.connect("timeout()", lambda: got.append("timer"))
    timer.start(1)
    qt.QTimer.singleShot(1, lambda: got.append("shot"))
    assert slicerhost.runUntil(lambda: len(got) == 2, everyMs=5)
    slicerhost.runUntil(lambda: len(got) > 2, timeout=0.05, everyMs=10)
    assert sorted(got) == ["shot", "timer"]


def test_settings_are_not_the_users(qt, slicer):
    import os

    settings = qt.QSettings()
    settings.setValue("RealTimeImaging/folder", "/data")
    assert slicer.app.userSettings().value("RealTimeImaging/folder") == "/data"
    assert slicer.util.settingsValue("RealTimeImaging/folder", "") == "/data"
    assert slicer.util.settingsValue("RealTimeImaging/no", 7, converter=int) == 7
    assert os.path.commonpath([settings.fileName(), slicer.app.temporaryPath]) == slicer.app.temporaryPath
    settings.remove("RealTimeImaging")
