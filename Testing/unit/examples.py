"""Weights of property tests."""

from hypothesis import settings


def examples(weight: float) -> settings:
    """Decorate a property test: try `weight` times as many examples as the profile gives to others."""
    return settings(max_examples=max(1, round(weight * settings.default.max_examples)))
