"""The panel, one file a section. It shows what the logic tells and asks the logic for everything."""

from .Panel import Panel

__all__ = ["Panel"]
