"""Every sentence for the user is a template, so that the panel can translate it."""

from __future__ import annotations

import ast
import json
import re
import struct
import zlib
from pathlib import Path
from xml.etree import ElementTree

import pytest
import RealTimeImagingLib
from RealTimeImagingLib.Model.Errors import SettingsError
from RealTimeImagingLib.Model.Files import reasonOf

LIBRARY = Path(RealTimeImagingLib.__file__).parent
CONVERTED = (
    "Conversion",
    "Export",
    "Formats",
    "Host",
    "Link",
    "Logic.py",
    "Model/DeviceMessage.py",
    "Model/Files.py",
    "Model/Frame.py",
    "Model/Packages.py",
    "OpenIGTLink",
    "Processing",
    "Recording",
    "Scene",
    "Sources",
    "Worker",
)
"""Folders and files without a sentence outside a template; the list grows until it is the whole library."""
WRITERS = ("DICOM/Header.py", "DICOM/Mosaic.py", "Formats/NRRD.py", "Formats/Nibabel.py", "Formats/Others.py")
"""Files with names of fields, types and formats."""
SPOKEN = sorted(
    file
    for one in ("Export", "Formats", "Host", "Link", "OpenIGTLink", "Processing", "Scene", "Sources", "Worker")
    for file in (LIBRARY / one).rglob("*.py")
    if not file.as_posix().endswith(WRITERS)
)
"""Files whose longer literals are all for the user; the others also write files and headers."""
FILES = sorted(
    file for one in CONVERTED for file in ((LIBRARY / one).rglob("*.py") if "." not in one else [LIBRARY / one])
)
PLACES = {"Event": 1, "RequestError": 1, "StatusReport": 0, "Remedy": 0}
"""Place of the text among the arguments."""
BUILTIN = (
    "AssertionError",
    "FileNotFoundError",
    "IndexError",
    "RuntimeError",
    "TypeError",
    "ValueError",
    "KeyError",
    "EOFError",
    "OSError",
    "TimeoutError",
    "NotImplementedError",
)
"""Errors of programming and of the system; a text is made for the user from those that reach one."""
NO_SENTENCES = (
    " ... (more in the private element)",
    "Cannot be stored",
    "Commands from the network",
    "IMAGE TRANS",
    "Real-Time Imaging",
    "a message of the type",
    "an array of",
    ' -H "Authorization',
    "curl ",
    "end of input",
    "pip download",
    "process that loads a function",
    "slicer.util.pip_install",
)
"""Beginnings of names, of commands, and of texts that peers and recordings get."""
STATES = ("status", "words", "text")
"""Properties with a text for the user."""
OWN_WORDS = {
    "Link/Messages.py": "for the log",
    "Processing/BuiltIn/ONNXSegmentation.py": "onnxruntime names what a network has that it does not support",
    "Processing/Requirements.py": "Python names the mistake in the user's own function",
}
"""Files in which the text of an error of Python or of a package is for its reader."""
ERRORS = {name for file in LIBRARY.rglob("*.py") for name in re.findall(r"^class (\w+)", file.read_text("utf-8"), re.M)}
"""Names of the library's classes, among them its errors, whose texts are sentences."""


def sentences(tree):
    """Yield the expressions whose values are texts for the user."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and named(node.func) in PLACES:
            place = PLACES[named(node.func)]
            yield from node.args[place : place + 1]
            yield from (one.value for one in node.keywords if one.arg in ("text", "status", "label"))
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            error = named(node.exc.func)
            if error.endswith("Error") and error not in (*BUILTIN, *PLACES):
                yield from node.exc.args[:1]
        elif isinstance(node, ast.FunctionDef) and node.name.lower().endswith(STATES):
            yield from (one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value)


def named(function):
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def bare(tree):
    """Return the lines with a sentence that is no template.

    A name stands for all values that are assigned to it in its function, and an expression for all its branches.
    """
    functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]
    within = {id(one) for function in functions for one in sentences(function)}
    pairs = [(one, {}) for one in sentences(tree) if id(one) not in within]
    for function in functions:
        values = {}
        for node in ast.walk(function):
            if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)) and node.value:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if isinstance(target, ast.Name):
                        values.setdefault(target.id, []).append(node.value)
        pairs += [(one, values) for one in sentences(function)]
    return sorted({one.lineno for sentence, values in pairs for one in literals(sentence, values, ())})


def literals(value, values, seen):
    """Yield the literals and f-strings with words in an expression that is not within a call."""
    if isinstance(value, ast.JoinedStr):
        yield value
    elif isinstance(value, ast.Constant):
        if isinstance(value.value, str) and value.value:
            yield value
    elif isinstance(value, ast.IfExp):
        yield from literals(value.body, values, seen)
        yield from literals(value.orelse, values, seen)
    elif isinstance(value, ast.BoolOp):
        for one in value.values:
            yield from literals(one, values, seen)
    elif isinstance(value, ast.BinOp):
        yield from literals(value.left, values, seen)
        yield from literals(value.right, values, seen)
    elif isinstance(value, ast.Name) and value.id not in seen:
        for one in values.get(value.id, ()):
            yield from literals(one, values, (*seen, value.id))
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr != "format":
        yield from literals(value.func.value, values, seen)


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(LIBRARY)) for file in FILES])
def test_the_sentences_are_templates(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert bare(tree) == []
    assert bool(foreignWords(tree, ERRORS)) == (file.relative_to(LIBRARY).as_posix() in OWN_WORDS)


def foreignWords(tree, library):
    """Return the lines that put the text of an error of Python or of a package into a sentence.

    reasonOf() and unexpected() turn such an error into words.

    :param library: names of errors whose texts are sentences.
    """
    found = set()
    for handler in ast.walk(tree):
        if not isinstance(handler, ast.ExceptHandler) or not handler.name:
            continue
        types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if {named(one) for one in types} <= library:
            continue
        nodes = [node for statement in handler.body for node in ast.walk(statement)]
        allowed = set()
        for node in nodes:
            isLog = isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("log.", "logging.", "isinstance"))
            # What the library's own error says, and a search in the text.
            isOurs = isinstance(node, ast.IfExp) and "isinstance" in ast.unparse(node.test)
            if isLog or isOurs or isinstance(node, ast.Compare):
                allowed.update(map(id, ast.walk(node)))
        for node in nodes:
            value = node.args[0] if isinstance(node, ast.Call) and named(node.func) == "str" and node.args else None
            if isinstance(node, ast.FormattedValue | ast.keyword):
                value = node.value
            if id(node) not in allowed and isinstance(value, ast.Name) and value.id == handler.name:
                found.add(value.lineno)
    return sorted(found)


class FFmpegError(ValueError):
    """An error with FFmpeg's words, as PyAV raises it."""

    strerror = "Invalid data found"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "it has bytes that are no text"),
        (MemoryError(), "there is not enough memory"),
        (RecursionError("maximum depth"), "its parts nest too deeply"),
        (struct.error("unpack requires a buffer"), "its length does not fit its format"),
        (EOFError(), "it ends too early"),
        (zlib.error("Error -3"), "its compressed bytes are damaged"),
        (IndexError("list index out of range"), "a part of it is missing"),
        (KeyError("x" * 100), f'"{"x" * 60}" is missing'),
        (OverflowError("int too large"), "a number in it is too large, or impossible"),
        (AttributeError("no attribute"), "a value in it is missing, or of another kind than expected"),
        (TypeError("not iterable"), "a value in it is missing, or of another kind than expected"),
        (ValueError("invalid literal"), "a value in it is impossible"),
        (FFmpegError("[Errno 1094995529]"), "Invalid data found"),
        (AssertionError(), "it is damaged"),
        (ImportError("DLL load failed", name="av"), "the Python package av is missing, or does not fit this computer"),
        (TimeoutError("timed out"), "no answer in time"),
        (json.JSONDecodeError("Expecting value", "{\n]", 2), "there is a mistake in line 2"),
        (ElementTree.ParseError("mismatched tag"), "there is a mistake in line 3"),
        (SettingsError("Our own sentence."), "Our own sentence."),
    ],
    ids=lambda one: type(one).__name__,
)
def test_errors_of_python_have_plain_words(error, words):
    if isinstance(error, ElementTree.ParseError):
        error.position = (3, 0)
    assert reasonOf(error) == words


def proseOutside(tree):
    """Return the lines of strings of three words or more that are no template, record form, log or docstring."""
    allowed = set()
    for node in ast.walk(tree):
        call = node.exc if isinstance(node, ast.Raise) else node
        if isinstance(call, ast.Call):
            name = named(call.func)
            of = named(call.func.value) if isinstance(call.func, ast.Attribute) else ""
            isRaised = isinstance(node, ast.Raise) and name in BUILTIN
            if name in ("_", "recordForm") or of in ("log", "logging", "re") or isRaised:
                allowed.update(id(one) for argument in call.args for one in ast.walk(argument))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            allowed.add(id(node.value))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = " ".join(str(one.value) for one in node.values if isinstance(one, ast.Constant))
            inner = {id(one) for one in node.values}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text, inner = node.value, set()
        else:
            continue
        allowed |= inner
        other = text.startswith(NO_SENTENCES)
        if id(node) not in allowed and not other and len(re.findall(r"[A-Za-z]{2,}", text)) > 2 and " " in text.strip():
            found.add(node.lineno)
    return sorted(found)


@pytest.mark.parametrize("file", SPOKEN, ids=[str(file.relative_to(LIBRARY)) for file in SPOKEN])
def test_no_prose_is_outside_a_template(file):
    assert proseOutside(ast.parse(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('Event("a", "Plain.")', [1]),
        ('Event("a", f"{name} is gone.")', [1]),
        ('Event("a", _("{name} is gone.").format(name=name))', []),
        ('def f():\n    text = "Plain."\n    text += f"{more}"\n    return Event("a", text)', [2, 3]),
        ('def f():\n    text = _("A.") if a else "B."\n    yield Event("a", text, "warning")', [2]),
        ('raise SettingsError("No.")', [1]),
        ('raise RequestError(400, "No.")', [1]),
        ('raise RequestError(400, _("No."))', []),
        ('raise TypeError("for programmers")', []),
        ('def status(self):\n    return f"{name} waits."', [2]),
        ('def status(self):\n    return joined(_("Waits."), self.more)', []),
        ('Event("a", str(error).rstrip("."))', []),
        ('StatusReport("Waits.", counts)', [1]),
        ('Remedy("Use it", {})', [1]),
    ],
)
def test_a_sentence_that_is_no_template_is_found(source, lines):
    assert bare(ast.parse(source)) == lines


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('words = "It is gone"', [1]),
        ('report("code", f"{name} is gone now")', [1]),
        ('words = _("It is gone")', []),
        ('log.warning("It is gone now")', []),
        ('"""It is a docstring."""', []),
        ('raise ValueError(f"{name} is no number")', []),
    ],
)
def test_prose_outside_a_template_is_found(source, lines):
    assert proseOutside(ast.parse(source)) == lines


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("raise SettingsError(_('No: {e}').format(e=error))", [4]),
        ("raise SettingsError(_('No: {e}').format(e=str(error)))", [4]),
        ("text = f'{error}'", [4]),
        ("text = reasonOf(error)", []),
        ("log.info('No: %s', str(error))", []),
        ("text = str(error) if isinstance(error, OurError) else ''", []),
    ],
)
def test_words_of_python_are_found(source, lines):
    tree = ast.parse(f"try:\n    pass\nexcept (OurError, KeyError) as error:\n    {source}")
    assert foreignWords(tree, {"OurError"}) == lines
    assert foreignWords(tree, {"OurError", "KeyError"}) == []
