"""Values of the latest frames: each in the row of its frame, the oldest dropped."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Model.Signals import MOST_SIGNALS, NUMBER, TIME, Signals


def test_values_of_a_frame_share_its_row():
    signals = Signals()
    signals.add(0, 100.0, {"Latency": 3.0})
    signals.add(1, 100.5, {"Latency": 4.0})
    signals.add(0, 100.0, {"Mean": 7.0})
    columns = {name: column.tolist() for name, column in signals.columns().items()}
    assert columns.pop("Mean")[0] == 7.0
    assert columns == {NUMBER: [0, 1], TIME: [0.0, 0.5], "Latency": [3.0, 4.0]}
    assert np.isnan(signals.columns()["Mean"][1])
    assert signals.names == ["Latency", "Mean"]
    assert signals.changes == 3


def test_rows_are_in_the_order_of_their_times():
    signals = Signals()
    for number in (0, 2, 3, 1):  # the value of a skipped frame comes later
        signals.add(number, float(number), {"Mean": number})
    assert signals.columns()["Mean"].tolist() == [0, 1, 2, 3]


@given(st.lists(st.integers(0, 60), max_size=200), st.integers(1, 8))
def test_the_latest_rows_remain(numbers, rows):
    signals, expected = Signals(rows), {}
    for change, number in enumerate(numbers):
        if number not in expected and len(expected) == rows:
            del expected[next(iter(expected))]
        expected.setdefault(number, 0)
        expected[number] = change
        signals.add(number, float(number), {"Change": change})
    columns = signals.columns()
    found = dict(zip(columns[NUMBER].tolist(), columns.get("Change", np.empty(0)).tolist(), strict=True))
    assert found == expected
    assert list(found) == sorted(found)


def test_names_are_bounded():
    signals = Signals()
    for number in range(3 * MOST_SIGNALS):
        signals.add(0, 0.0, {f"S{number}": number})
        assert signals.leftOut == ("" if number < MOST_SIGNALS else f"S{MOST_SIGNALS}")
    assert len(signals.names) == MOST_SIGNALS
