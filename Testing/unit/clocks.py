"""A clock that a test sets, in place of time.monotonic()."""

from __future__ import annotations


class Clock:
    """Monotonic seconds that pass only when told to: by setting ``now``, or ``tick``, which each call adds."""

    def __init__(self, tick=0.0, now=1000.0):
        self.now, self.tick = now, tick

    def __call__(self):
        self.now += self.tick
        return self.now
