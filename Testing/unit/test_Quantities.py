import pytest
from RealTimeImagingLib.Model.Quantities import counted, freeName, rateText, sizeText


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (36e6, "36.0 MB"), (999.96e6, "1.0 GB"), (2.5e12, "2.5 TB")],
)
def test_sizes_have_the_unit_that_fits(count, text):
    assert sizeText(count) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 slices"), (1, "1 slice"), (1200, "1,200 slices")])
def test_counts_have_the_right_form(count, text):
    assert counted(count, "1 slice", "{count:,} slices") == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0, "0.0"), (9.968, "10.0"), (120, "120.0"), (0.999, "1.0"), (0.5, "0.5"), (0.2, "0.2"), (1 / 30, "0.033")],
)
def test_rates_have_one_decimal_and_slow_ones_two_digits(rate, text):
    assert rateText(rate) == text


def test_a_taken_name_gets_the_first_free_number():
    assert freeName("Live", []) == "Live"
    assert freeName("Live", ["Live"]) == "Live 2"
    assert freeName("Live", {"Live", "Live 2", "Live 4"}) == "Live 3"
    assert freeName("CT", ["CT"], "{name} ({number})") == "CT (2)"
