"""Texts for the user, which remember their template so that the panel can translate them.

A file that makes texts declares ``_ = textsOf(__file__)``, and writes ``_("{name} was removed.").format(name=name)``.
The result is English text, for logs, files and programs. Slicer's extraction of texts finds the literal in ``_()``, and
the panel translates the template (:func:`Panel.Section.translated`). A text is not translated again inside another
string: use a template with values, or :func:`joined`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any


class Text(str):
    """English text with its template.

    :param template: text in which names in braces stand for the values, as in str.format.
    :param context: context of the template in Slicer's translations; empty for a template without words.
    :param values: values by name: numbers, strings or other texts. None: the template has not been filled, and its
        braces are literal.
    """

    template: str
    context: str
    values: Mapping[str, Any] | None

    def __new__(cls, template: str, context: str = "", values: Mapping[str, Any] | None = None) -> Text:
        """Fill the template."""
        made = super().__new__(cls, template if values is None else template.format(**values))
        made.template, made.context, made.values = str.__str__(template), context, values
        return made

    def __str__(self) -> str:
        """Return the text itself: str(error) keeps the template of its sentence."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the template."""
        return Text, (self.template, self.context, self.values)

    def format(self, *_values: object, **values: Any) -> Text:
        """Return the text with the values in place of their names.

        :param values: numbers and texts; anything else, such as an error or an array's type, becomes text.
        :raises TypeError: a value has no name.
        """
        if _values:
            raise TypeError("The values of a text have names, because a translation may change their order.")
        return Text(self.template, self.context, {name: _plain(value) for name, value in values.items()})

    def toJSON(self) -> dict[str, Any]:
        """Return an object that :func:`textFromJSON` reads."""
        values = None if self.values is None else {name: textToJSON(one) for name, one in self.values.items()}
        return {"template": self.template, "context": self.context, "values": values}


def _plain(value: Any) -> Any:
    if hasattr(value, "item") and not getattr(value, "shape", None):
        value = value.item()  # a number of NumPy
    return value if value is None or isinstance(value, str | int | float) else str(value)


def textToJSON(value: Any) -> Any:
    """Return a text as an object, and any other value as it is."""
    return value.toJSON() if isinstance(value, Text) else value


def textFromJSON(value: Any) -> Any:
    """Return the text that :func:`textToJSON` wrote, and any other value as it is."""
    if not isinstance(value, Mapping):
        return value
    values = value["values"]
    return Text(
        value["template"],
        value["context"],
        None if values is None else {name: textFromJSON(one) for name, one in values.items()},
    )


def textsOf(file: str) -> Callable[[str], Text]:
    """Return the function ``_`` of a file: it marks a literal for translation and returns it as a text.

    :param file: the ``__file__`` of the module.
    """
    folder, name = os.path.split(os.path.abspath(file))
    # As slicer.i18n.getContext for a file of a package.
    context = f"{os.path.basename(folder)}.{os.path.splitext(name)[0]}"
    return lambda template: Text(template, context)


def sentence(text: str) -> str:
    """Return a text with a full stop, unless it ends with a sign of its own."""
    return text if text.endswith((".", "?", "!")) else Text("{text}.", "", {"text": text})


def renamed(text: str, old: str, new: str) -> str:
    """Return a text with another name in its values; its template stays."""
    if not isinstance(text, Text) or text.values is None:
        return text.replace(old, new)
    values = {name: renamed(one, old, new) if isinstance(one, str) else one for name, one in text.values.items()}
    return Text(text.template, text.context, values)


def sameWords(one: object, other: object) -> bool:
    """Return True when two texts differ at most in numbers, such as two counts of the same thing."""
    if isinstance(one, Text) and isinstance(other, Text) and one.template == other.template:
        left, right = one.values or {}, other.values or {}
        return left.keys() == right.keys() and all(sameWords(left[name], right[name]) for name in left)
    return one == other or (isinstance(one, int | float) and isinstance(other, int | float))


def isStorable(text: str) -> bool:
    """Return True for a text that files and Slicer's nodes can hold.

    It has no lone surrogates, as names of files may have: they are not in UTF-8. It has no NUL, which ends texts in C.
    """
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def joined(*texts: str, separator: str = " ") -> Text:
    """Return the texts that are not empty, one behind the other."""
    found = {f"text{number}": text for number, text in enumerate(text for text in texts if text)}
    return Text(separator.join(f"{{{name}}}" for name in found), "", found)
