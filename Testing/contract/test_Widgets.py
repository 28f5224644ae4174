"""ctk's widgets have what the real classes have, and no more."""

import pytest


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("ctk.ctkCollapsibleButton(None).text", ""),
        ("ctk.ctkCollapsibleButton().collapsed", False),
        ("ctk.ctkCollapsibleButton().collapsedHeight", 14),
        ("ctk.ctkPathLineEdit().currentPath", ""),
        ("ctk.ctkPathLineEdit().filters", 24663),
        ("ctk.ctkPathLineEdit().nameFilters", ()),
        ("ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Readable", 17),
        ("ctk.ctkDoubleSpinBox().value", 0.0),
        ("ctk.ctkSliderWidget().decimals", 2),
        ("ctk.ctkCheckBox().checked", False),
        ("ctk.ctkComboBox().currentUserDataAsString", ""),
        ("setattr(ctk.ctkPathLineEdit(), 'currentPath', None)", None),
        ("ctk.ctkCheckablePushButton().checkBoxControlsButton", True),
        ("ctk.ctkCheckablePushButton().checkState", 0),
        ("ctk.ctkCollapsibleGroupBox().collapsed", False),
        ("ctk.ctkCollapsibleButton().inherits('QAbstractButton')", True),
        ("ctk.ctkDoubleSpinBox().inherits('QDoubleSpinBox')", False),
        ("ctk.ctkDirectoryButton().inherits('QAbstractButton')", False),
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
        ("ctk.ctkDirectoryButton().clicked", AttributeError),
        ("ctk.ctkDoubleSpinBox().lineEdit", AttributeError),
        ("ctk.ctkSliderWidget().value()", TypeError),
        ("ctk.ctkSliderWidget().orientation", AttributeError),
        ("ctk.ctkCollapsibleButton().setChecked(checked=True)", ValueError),
        ("ctk.ctkCollapsibleButton(text='a')", (TypeError, ValueError)),
        ("ctk.ctkCollapsibleButton().connect('collapsed(bool)', print)", AttributeError),
        ("ctk.ctkCollapsibleButton('Source')", ValueError),
        ("ctk.ctkCollapsibleButton('Source', qt.QWidget())", ValueError),
        ("ctk.ctkCheckablePushButton('Go')", ValueError),
        ("ctk.ctkCollapsibleGroupBox('Group')", ValueError),
        ("ctk.ctkDoubleSpinBox().setRange(0, 1)", AttributeError),
        ("ctk.ctkDoubleSpinBox().setMinimum(0)", AttributeError),
        ("ctk.ctkDoubleSpinBox().setMaximum(1)", AttributeError),
        ("ctk.ctkSliderWidget().setRange(0, 1)", AttributeError),
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
    assert not label.isHidden()  # it was never shown
    section.show()
    assert label.isHidden()
    section.collapsed = False
    assert not label.isHidden()
    section.collapsed = True
    assert label.isHidden()
    assert got == [True, False, True]


def test_a_child_that_was_hidden_stays_hidden_when_its_section_opens(qt, ctk):
    section = ctk.ctkCollapsibleButton()
    layout, label, other = qt.QVBoxLayout(section), qt.QLabel("x"), qt.QLabel("y")
    layout.addWidget(label)
    layout.addWidget(other)
    section.show()
    label.visible = False
    section.collapsed = True
    section.collapsed = False
    assert (label.isHidden(), other.isHidden()) == (True, False)


def test_a_long_path_makes_its_widget_wide_unless_it_is_told_how_many_characters_are_enough(qt, ctk):
    edit = ctk.ctkPathLineEdit()
    edit.currentPath = "/data/" + "x" * 200
    assert edit.minimumSizeHint.width() > 500
    edit.minimumContentsLength = 8
    assert edit.minimumSizeHint.width() < 250


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
    with pytest.raises(ValueError, match=r"Trying to call .*setEditText.* on a destroyed QComboBox object"):
        box.setEditText("/data")
    with pytest.raises(ValueError, match="on a destroyed QComboBox object"):
        _ = box.currentText
    with pytest.raises(ValueError, match="on a destroyed QComboBox object"):
        box.currentText = "/data"


def test_a_path_that_is_not_there_is_valid(ctk, tmp_path):
    edit, got = ctk.ctkPathLineEdit(), []
    edit.connect("validInputChanged(bool)", got.append)
    edit.currentPath = str(tmp_path)
    edit.currentPath = str(tmp_path / "no")
    assert got == [True]  # any path is valid that its filters let through, also one that is not there


def test_a_folder_button_gives_absolute_paths(ctk, tmp_path):
    button, got = ctk.ctkDirectoryButton(), []
    button.connect("directoryChanged(QString)", got.append)
    button.directory = str(tmp_path)
    button.directory = str(tmp_path)
    assert got == [str(tmp_path)] == [button.directory]


@pytest.mark.parametrize("name", ["ctkDoubleSpinBox", "ctkSliderWidget"])
def test_numbers_stay_in_their_range_and_tell_of_changes(ctk, name):
    widget, got = getattr(ctk, name)(), []
    widget.minimum, widget.maximum = 5, 1000
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
