"""Drawing leaves Slicer its share of the time, however slow the views are; the test sets the clock."""

import pytest
from RealTimeImagingLib.Host.DrawingBudget import LONGEST, SHARE, DrawingBudget
from unit.clocks import Clock

SCHEDULED = 0.017
"""Seconds from a change of a view to its drawing, as in Slicer."""


class Window:
    """A main thread that shows the newest image of each stream when the budget allows, and draws views as Slicer does.

    :param streams: images per second and views of each stream.
    :param costs: seconds of one drawing of each view.
    """

    def __init__(self, streams, costs, copying=0.001):
        self.clock = Clock()
        self.budget = DrawingBudget(self.clock)
        self.streams, self.costs, self.copying = streams, costs, copying
        self.shown = dict.fromkeys(streams, 0)
        self.busy = 0.0
        self._due = {}
        self._arrivals = dict.fromkeys(streams, self.clock.now)

    def _work(self, seconds):
        self.clock.now += seconds
        self.busy += seconds

    def run(self, seconds):
        end = self.clock.now + seconds
        while self.clock.now < end:
            self._draw()
            for stream, (rate, views) in self.streams.items():
                if self._arrivals[stream] <= self.clock.now and self.budget.wait(stream) <= 0:
                    self._arrivals[stream] = max(self._arrivals[stream] + 1 / rate, self.clock.now)
                    self.budget.begin()
                    self._work(self.copying)
                    self.budget.shown(stream, views)
                    self.shown[stream] += 1
                    for view in views:
                        self._due.setdefault(view, self.clock.now + SCHEDULED)
            self.clock.now += 0.0005
        return self

    def _draw(self):
        for view in [view for view, due in self._due.items() if due <= self.clock.now]:
            del self._due[view]
            self._work(self.costs[view])
            self.budget.drawn(view, self.costs[view])


@pytest.mark.parametrize("cost", [0.03, 0.04, 0.2])
@pytest.mark.parametrize("rate", [30, 100, 240])
def test_a_stream_in_slow_views_takes_its_share_and_no_more(cost, rate):
    views = {"Red": cost / 2, "Green": cost / 4, "Yellow": cost / 4}
    window = Window({"A": (rate, views)}, views).run(20)
    assert window.busy / 20 == pytest.approx(SHARE, abs=0.06)
    assert window.shown["A"] / 20 == pytest.approx(SHARE / (cost + 0.001), rel=0.12)


@pytest.mark.parametrize("rate", [30, 120])
def test_cheap_views_slow_nothing(rate):
    window = Window({"A": (rate, ["Red"])}, {"Red": 0.001}).run(5)
    assert window.shown["A"] >= 0.97 * 5 * rate


def test_streams_in_no_view_wait_only_for_their_copying():
    window = Window({"A": (100, []), "B": (100, [])}, {}).run(5)
    assert min(window.shown.values()) >= 480


def test_a_cheap_view_is_not_slowed_by_an_expensive_one():
    window = Window({"A": (30, ["Red"]), "B": (60, ["Green"])}, {"Red": 0.1, "Green": 0.001}).run(20)
    # Nothing is drawn while Red is: what is left of the time is the cheap stream's.
    assert window.shown["B"] >= 20 * 60 * 0.4
    assert window.shown["A"] >= 20 * 3
    assert window.busy / 20 <= SHARE + 0.03


def test_streams_in_views_of_their_own_share_the_time():
    names = ["Red", "Green", "Yellow"]
    window = Window({name: (50, [name]) for name in names}, dict.fromkeys(names, 0.03)).run(20)
    assert window.busy / 20 <= SHARE + 0.03
    assert min(window.shown.values()) >= 0.9 * max(window.shown.values())


def test_a_view_that_becomes_slow_is_paid_for_at_once():
    window = Window({"A": (30, ["3D"])}, {"3D": 0.002}).run(2)
    window.costs["3D"] = 0.4
    window.busy = 0.0
    window.run(4)
    assert window.busy / 4 <= SHARE + 0.12


def test_a_view_that_becomes_fast_is_used_again():
    window = Window({"A": (30, ["3D"])}, {"3D": 0.4}).run(5)
    window.costs["3D"] = 0.001
    window.run(5)
    shown = window.shown["A"]
    window.run(2)
    assert window.shown["A"] - shown >= 57


def test_one_slow_drawing_is_soon_forgotten():
    """The first drawing of a view compiles and allocates."""
    window = Window({"A": (30, ["Red"])}, {"Red": 5.0}).run(5)
    window.costs["Red"] = 0.001
    window.run(5)
    assert window.shown["A"] >= 120


def test_drawings_that_no_stream_caused_are_not_charged():
    """The user turns a 3D view: the stream in another view goes on."""
    clock = Clock()
    budget = DrawingBudget(clock)
    budget.drawn("3D", 0.5)
    budget.begin()
    budget.shown("A", ["Red"])
    budget.drawn("3D", 0.5)
    assert budget.wait("A") == 0
    budget.drawn("Red", 0.06)
    assert budget.wait("A") == pytest.approx(0.1)
    budget.drawn("Red", 0.06)
    assert budget.wait("A") == pytest.approx(0.1)
    budget.drawn("Red", 0.03, more=True)
    assert budget.wait("A") == pytest.approx(0.1)
    clock.now += 0.1
    assert budget.wait("A") == 0


def test_the_time_of_the_screen_belongs_to_the_drawing():
    budget = DrawingBudget(Clock())
    budget.begin()
    budget.shown("A", ["Red"])
    budget.drawn("Red", 0.03)
    budget.drawn("Red", 0.03, more=True)
    assert budget.wait("A") == pytest.approx(0.06 / SHARE)


def test_an_image_that_may_change_any_view_pays_for_all():
    """A moved slice draws all slice views; a device's transform draws everything below it."""
    budget = DrawingBudget(Clock())
    budget.drawn("Red", 0.01)
    budget.drawn("Green", 0.01)
    for stream in ("A", None):
        budget.begin()
        budget.shown(stream, None)
        budget.drawn("Red", 0.03)
        budget.drawn("Green", 0.03)
        assert budget.wait(stream) == pytest.approx(0.06 / SHARE)
        budget.forget()


def test_a_drawing_in_the_middle_of_showing_is_charged_once():
    clock = Clock()
    budget = DrawingBudget(clock)
    budget.begin()
    budget.shown("A", ["Red"])
    clock.now += 1
    budget.begin()
    clock.now += 0.06
    budget.drawn("Red", 0.06)
    budget.shown("A", ["Red"])
    assert budget.wait("A") == pytest.approx(0.06 / SHARE)


def test_a_drawing_of_minutes_stops_the_display_for_a_moment_only():
    budget = DrawingBudget(Clock())
    for seconds in (0.01, 300.0):
        budget.begin()
        budget.shown("A", ["Red"])
        budget.drawn("Red", seconds)
    assert budget.wait("A") == pytest.approx((0.01 + LONGEST) / SHARE)


def test_the_work_does_not_grow_with_the_streams():
    """Streams in no view leave no state that is searched for each image."""
    budget = DrawingBudget(Clock())
    for number in range(1500):
        budget.begin()
        budget.shown(f"S{number}", ())
    assert (len(budget._debts), len(budget._rounds), len(budget._pending)) == (0, 0, 0)
