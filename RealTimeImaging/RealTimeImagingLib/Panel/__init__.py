"""The panel, one file a section. It shows what the logic tells and asks the logic for everything."""

from __future__ import annotations

from .Panel import Panel

__all__ = ["Panel"]
