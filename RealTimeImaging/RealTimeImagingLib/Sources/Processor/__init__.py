"""Images that a function computes from the images of another stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ...Model.Errors import SettingsError
from ...Model.Files import parsedJSON, reasonOf
from ...Model.Settings import STREAM, SourceSettings, about
from ...Model.Text import sentence, textsOf
from ...Processing.Loading import functionName
from ..Source import Source, SourceContext, SourceKind

_ = textsOf(__file__)

EVERY = {"all": _("Every image"), "newest": _("Newest image")}


@dataclass(frozen=True)
class ProcessorSettings(SourceSettings):
    """A function and the stream whose images it processes. ``logic.processing.start()`` starts this source.

    ``stream`` is the name of the stream of the results.
    """

    kind: ClassVar[str] = "processor"

    function: str = field(
        metadata=about(_("Function"), _("Path of a Python file with process(frame), or name of a built-in function."))
    )
    source: str = field(
        default="Live", metadata=about(_("Images of"), _("Stream whose images are processed, as its source names it."))
    )
    stream: str = field(default="Live processed", metadata=STREAM)
    every: str = field(
        default="all",
        metadata=about(
            _("Images"),
            _("Every image: images wait while the function is busy. Newest image: older waiting images are skipped."),
            choices=EVERY,
        ),
    )
    parameters: str = field(
        default="{}", metadata=about(_("Parameters"), _("JSON object with values of the function's parameters."))
    )
    python: str = field(
        default="",
        metadata=about(
            _("Python"),
            _("Python that runs the function, such as one with PyTorch; it needs numpy. Empty: Slicer's."),
            path="file",
        ),
    )
    limit: float = field(
        default=10.0,
        metadata=about(
            _("Time limit"),
            _("A call that takes longer is ended, and the function is restarted."),
            unit=_("s"),
            limits=(0.1, 86400),
        ),
    )
    environment: str = field(
        default="{}",
        metadata=about(
            _("Environment"),
            _("JSON object of environment variables of that Python; null removes one."),
            inPanel=False,
            inCommand=False,
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("parameters", "environment"):
            jsonObject(getattr(self, name), name)


def jsonObject(text: str, name: str) -> dict[str, Any]:
    """Return the JSON object in a setting.

    :param name: of the setting.
    :raises SettingsError: the text is no JSON object.
    """
    try:
        values = parsedJSON(text)
    except ValueError as error:
        text = _('"{name}" is no JSON: {reason}')
        raise SettingsError(text.format(name=name, reason=sentence(reasonOf(error)))) from error
    if not isinstance(values, dict):
        raise SettingsError(_('"{name}" is a JSON object, not {value}.').format(name=name, value=repr(values)))
    return values


def _open(settings: ProcessorSettings, context: SourceContext) -> Source:
    from .Source import ProcessorSource

    return ProcessorSource(settings, context.checkpoint, context.getBuffer, context.folders)


def _sender(settings: ProcessorSettings) -> str:
    return _("{function} of {stream}").format(function=functionName(settings.function), stream=settings.source)


KIND = SourceKind(ProcessorSettings, _("Processing"), _open, sender=_sender, steady=False, listed=False)
