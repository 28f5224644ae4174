"""Profiles of the property tests: how many examples Hypothesis tries for each.

``quick`` is the default. Choose another with ``run.py test --hypothesis-profile=ci`` (before a merge, the same examples
each time) or ``full`` (by hand, for hours). A test that needs more or fewer examples than the others says so with
:func:`unit.examples.examples`.
"""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

# NumPy starts threads for linear algebra otherwise: two fifths of the time in which a child process of a test starts.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

EXAMPLES = {"quick": 10, "ci": 20, "full": 1000}
"""Examples of a test without a weight of its own, by profile."""

for name, number in EXAMPLES.items():
    # No deadline: the tests read and write real files. The examples of a test share its folder on purpose.
    settings.register_profile(
        name,
        max_examples=number,
        deadline=None,
        derandomize=name == "ci",
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
settings.load_profile("quick")

LONGEST = 80
"""Characters of a parameter in the name of a test."""


def pytest_make_parametrize_id(val: object) -> str | None:
    """Shorten long texts and bytes: names of tests are read by people and sent between processes."""
    if not isinstance(val, (str, bytes)) or len(val) <= LONGEST:
        return None
    return f"{val[: LONGEST // 2]!r}... {len(val)}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the demos first: only one runs at a time, beside the other tests."""
    items.sort(key=lambda item: item.path.name != "test_Demo.py")


def pytest_collection_finish() -> None:
    """Spare the garbage collector the tests and all that they imported, which live until the end."""
    gc.collect()
    gc.freeze()
