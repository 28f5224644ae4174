"""Texts in the slice views: alarms, and the time of the image."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import vtk
from slicer.i18n import tr as _

from .Views import Views

ALARM, TIME = "alarm", "time"
"""Lines of a text, from top to bottom."""
SHORTEST = 1.0
"""Least seconds between two changes of an alarm in a view: each change draws the view again."""
PLACE = (0.5, 0.98)
"""Top centre of the view, as parts of width and height: Slicer's DataProbe writes into the corners."""
FONT_SIZE = 14


class ViewTexts:
    """Lines of text at the top of the slice views that show a stream.

    A view is drawn again only when an alarm changes. The time of an image is drawn together with the image.

    :param views: the slice views.
    :param nodeOf: returns the live volume node of a stream, or None.
    :param clock: returns monotonic seconds.
    """

    def __init__(self, views: Views, nodeOf: Callable[[str], Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._views, self._nodeOf, self._clock = views, nodeOf, clock
        self._lines: dict[str, dict[str, str]] = {}
        self._shown: dict[str, _ViewText] = {}
        self._drawn: dict[str, float] = {}
        """Time of the last change of an alarm in a view."""
        self._times = False

    def show(self, stream: str, text: str) -> None:
        """Show an alarm in the views that show a stream now; an empty text clears it at once.

        Call it again when the text, or the views of the stream, may have changed. A text that follows another within a
        second is shown by the next call.

        :param text: one line, such as "No image for 12 s".
        """
        self._set(stream, ALARM, text)
        self._apply(redraw=True)

    @property
    def times(self) -> bool:
        """True while the time of each image is shown."""
        return self._times

    def setTimes(self, on: bool) -> None:
        """Show the acquisition time of each image in its views, from the next image on.

        A time of arrival, for images without a time of the device, is marked as such.
        """
        self._times = on
        if not on:
            for stream in list(self._lines):
                self._set(stream, TIME, "")
            self._apply(redraw=True)

    def imageShown(self, stream: str) -> None:
        """Show the time of a stream's new image, before the views draw the image."""
        node = self._nodeOf(stream) if self._times else None
        if node is not None:
            self._set(stream, TIME, _timeOf(node))
            self._apply(redraw=False)

    def clear(self) -> None:
        """Remove all texts, at the end or after the scene was closed."""
        self._lines.clear()
        self._apply(redraw=True)

    def _set(self, stream: str, line: str, text: str) -> None:
        lines = self._lines.setdefault(stream, {})
        lines[line] = text
        if not any(lines.values()):
            del self._lines[stream]

    def _apply(self, redraw: bool) -> None:
        wanted: dict[str, list[str]] = {}
        for stream, lines in self._lines.items():
            node = self._nodeOf(stream)
            for view in self._views.showing(node) if node is not None else ():
                wanted.setdefault(view, []).extend(lines[line] for line in (ALARM, TIME) if lines.get(line))
        if not wanted and not self._shown:
            return
        now = self._clock()
        for name, widget in self._views.widgets().items():
            text = "\n".join(wanted.get(name, ()))
            shown = self._shown.get(name)
            if text == (shown.text if shown else ""):
                continue
            if shown is None:
                shown = self._shown[name] = _ViewText(widget)
            if redraw and text and now - self._drawn.get(name, -SHORTEST) < SHORTEST:
                continue
            shown.set(text)
            if redraw:
                self._drawn[name] = now
                widget.scheduleRender()
            if not text:
                self._shown.pop(name).remove()


class _ViewText:
    """Text of one view, in an actor of its own."""

    def __init__(self, widget: Any) -> None:
        self.text = ""
        self._renderer = widget.renderWindow().GetRenderers().GetFirstRenderer()
        self._actor = vtk.vtkTextActor()
        self._actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
        self._actor.SetPosition(*PLACE)
        look = self._actor.GetTextProperty()
        look.SetFontSize(FONT_SIZE)
        look.SetColor(1.0, 0.85, 0.3)
        look.SetBackgroundColor(0.0, 0.0, 0.0)
        look.SetBackgroundOpacity(0.6)
        look.SetJustificationToCentered()
        look.SetVerticalJustificationToTop()
        self._renderer.AddViewProp(self._actor)

    def set(self, text: str) -> None:
        """Change the text; the next drawing of the view shows it."""
        self.text = text
        self._actor.SetInput(text)

    def remove(self) -> None:
        """Take the actor out of the view."""
        self._renderer.RemoveViewProp(self._actor)


def _timeOf(node: Any) -> str:
    """Return the time of a volume's image by the local clock, in milliseconds."""
    device = node.GetAttribute("DeviceTime")
    seconds = float(device or node.GetAttribute("ReceiveTime") or 0)
    text = f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{int(seconds * 1000) % 1000:03d}"
    return text if device else str(_("{time} (arrival)")).format(time=text)
