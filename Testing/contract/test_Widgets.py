"""ctk's widgets have what the real classes have, and no more."""

import pytest


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("ctk.ctkCollapsibleButton('Source').text", "Source"),
        ("ctk.ctkCollapsibleButton().collapsed", False),
        ("ctk.ctkCollapsibleButton().collapsedHeight", 10),
        ("ctk.ctkPathLineEdit().currentPath", ""),
        ("ctk.ctkPathLineEdit().filters", 7),
        ("ctk.ctkPathLineEdit().nameFilters", ()),
        ("ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Readable", 17),
        ("ctk.ctkDoubleSpinBox().value", 0.0),
        ("ctk.ctkSliderWidget().decimals", 2),
        ("ctk.ctkCheckBox().checked", False),
        ("ctk.ctkComboBox().currentUserDataAsString", ""),
        ("ctk.ctkCheckablePushButton('Go').checkBoxControlsButton", True),
        ("ctk.ctkCheckablePushButton('Go').checkState", 0),
        ("ctk.ctkCollapsibleGroupBox('G').collapsed", False),
        ("isinstance(ctk.ctkCollapsibleButton(), qt.QAbstractButton)", True),
        ("isinstance(ctk.ctkDoubleSpinBox(), qt.QDoubleSpinBox)", False),
        ("isinstance(ctk.ctkDirectoryButton(), qt.QAbstractButton)", False),
    ],
)
def test_has(qt, ctk, line, result):
    assert eval(line) == result


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("ctk.ctkRangeWidget()", AttributeError),
        ("ctk.ctkPathLineEdit().text", AttributeError),
        ("ctk.ctkPathLineEdit().currentPath()", TypeError),
        ("setattr(ctk.ctkPathLineEdit(), 'curentPath', 'a')", AttributeError),
        ("setattr(ctk.ctkPathLineEdit(), 'currentPath', None)", AttributeError),
        ("ctk.ctkDirectoryButton().clicked", AttributeError),
        ("ctk.ctkDoubleSpinBox().lineEdit", AttributeError),
        ("ctk.ctkSliderWidget().value()", TypeError),
        ("ctk.ctkSliderWidget().orientation", AttributeError),
        ("ctk.ctkCollapsibleButton().setChecked(checked=True)", ValueError),
        ("ctk.ctkCollapsibleButton(text='a')", (TypeError, ValueError)),
        ("ctk.ctkCollapsibleButton().connect('collapsed(bool)', print)", AttributeError),
    ],
)
def test_refuses(qt, ctk, line, error):
    with pytest.raises(error):
        eval(line)


def test_a_section_hides_its_contents(qt, ctk):
    section, got = ctk.ctkCollapsibleButton(), []
    layout, label = qt.QFormLayout(section), qt.QLabel("x")
    layout.addRow("Name:", label)
    section.connect("contentsCollapsed(bool)", got.append)
    section.collapsed = True
    assert label.isHidden()
    section.collapsed = False
    assert not label.isHidden()
    assert got == [True, False]


def test_a_path_is_remembered_under_its_setting(qt, ctk, tmp_path):
    edit, got = ctk.ctkPathLineEdit(), []
    edit.settingKey = "ContractPath"
    edit.connect("currentPathChanged(QString)", got.append)
    edit.currentPath = str(tmp_path)
    edit.addCurrentPathToHistory()
    assert got == [str(tmp_path)]
    other = ctk.ctkPathLineEdit()
    other.settingKey = "ContractPath"
    assert other.currentPath == str(tmp_path)
    qt.QSettings().remove("ContractPath")


def test_a_path_shows_its_combo_box(ctk):
    edit = ctk.ctkPathLineEdit()
    edit.currentPath = "/data"
    assert edit.comboBox().currentText == "/data"


def test_what_belongs_to_a_deleted_widget_is_gone(ctk):
    box = ctk.ctkPathLineEdit().comboBox()
    with pytest.raises(RuntimeError):
        box.setEditText("/data")


def test_a_path_says_whether_it_is_there(ctk, tmp_path):
    edit, got = ctk.ctkPathLineEdit(), []
    edit.connect("validInputChanged(bool)", got.append)
    edit.currentPath = str(tmp_path)
    edit.currentPath = str(tmp_path / "no")
    assert got == [True, False]


def test_a_folder_button_gives_absolute_paths(ctk, tmp_path):
    button, got = ctk.ctkDirectoryButton(), []
    button.connect("directoryChanged(QString)", got.append)
    button.directory = str(tmp_path)
    button.directory = str(tmp_path)
    assert got == [str(tmp_path)] == [button.directory]


@pytest.mark.parametrize("name", ["ctkDoubleSpinBox", "ctkSliderWidget"])
def test_numbers_stay_in_their_range_and_tell_of_changes(ctk, name):
    widget, got = getattr(ctk, name)(), []
    widget.setRange(5, 1000)
    widget.connect("valueChanged(double)", got.append)
    widget.value = 10
    widget.value = 2000
    widget.value = 1000
    assert got == [10.0, 1000.0]
    widget.suffix = " ms"
    assert (widget.minimum, widget.maximum, widget.suffix) == (5.0, 1000.0, " ms")


def test_items_are_changed_in_place(qt):
    """table.item(0, 0) is the item itself and not a copy, and so is the one that was put in."""
    table = qt.QTableWidget(1, 1)
    item = qt.QTableWidgetItem("made")
    table.setItem(0, 0, item)
    table.item(0, 0).setText("changed")
    assert (table.item(0, 0).text(), item.text()) == ("changed", "changed")
    entries = qt.QListWidget()
    entry = qt.QListWidgetItem("made")
    entries.addItem(entry)
    entry.setText("changed")
    assert entries.item(0).text() == "changed"
