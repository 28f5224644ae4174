"""Signals: receivers, their order, and receivers that fail."""

from __future__ import annotations

import logging

import pytest
from RealTimeImagingLib.Model.Signal import Signal


def test_everyReceiverGetsTheArgumentsInTheOrderOfConnection() -> None:
    signal: Signal[[str, int]] = Signal()
    got: list[object] = []
    signal.connect(lambda name, number: got.append(("first", name, number)))
    signal.connect(lambda name, number: got.append(("second", name, number)))
    signal.emit("Live", number=3)
    assert got == [("first", "Live", 3), ("second", "Live", 3)]


def test_aSignalWithoutReceiversDoesNothing() -> None:
    signal: Signal[[]] = Signal()
    signal.emit()


def test_aReceiverIsConnectedOnceAndCanBeDisconnected() -> None:
    signal: Signal[[int]] = Signal()
    got: list[int] = []
    signal.connect(got.append)
    signal.connect(got.append)
    signal.emit(1)
    signal.disconnect(got.append)
    signal.disconnect(got.append)
    signal.emit(2)
    assert got == [1]


def test_aReceiverMayDisconnectItselfDuringAnEmission() -> None:
    signal: Signal[[int]] = Signal()
    got: list[int] = []

    def once(value: int) -> None:
        got.append(value)
        signal.disconnect(once)

    signal.connect(once)
    signal.connect(got.append)
    signal.emit(1)
    signal.emit(2)
    assert got == [1, 1, 2]


def test_aReceiverThatFailsIsLoggedAndDoesNotStopTheOthers(caplog: pytest.LogCaptureFixture) -> None:
    signal: Signal[[int]] = Signal()
    got: list[int] = []

    def fail(value: int) -> None:
        raise ValueError(f"cannot take {value}")

    signal.connect(fail)
    signal.connect(got.append)
    with caplog.at_level(logging.ERROR):
        signal.emit(7)
    assert got == [7]
    assert "cannot take 7" in caplog.text
