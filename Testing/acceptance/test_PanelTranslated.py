"""Every text of the panel passes through Slicer's translation, in every state."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import MODULE
from .translated import BARE, outside

SCRIPT = Path(__file__).with_name("translated.py")


def test_noTextIsOutsideTheTranslation():
    """Only the label that the script itself adds; it runs in a process of its own, because texts are made at import."""
    ran = subprocess.run([sys.executable, SCRIPT, MODULE], check=True, stdout=subprocess.PIPE, text=True)
    assert json.loads(ran.stdout.splitlines()[-1]) == {f"control.text: {BARE}": "idle"}


@pytest.mark.parametrize(
    ("text", "left"),
    [("⟦Start⟧", ""), ("⟦{a} of ⟦images⟧⟧ 5", " 5"), ("⟦Start⟧ now", " now"), ("Start", "Start")],
)
def test_whatIsNotTranslatedIsLeft(text, left):
    assert outside(text) == left
