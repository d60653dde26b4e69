"""Numbers of files as text."""

import math

import pytest

from ssimbad_jax.stages.reporting import numbers


@pytest.mark.parametrize(
    ("values", "errors", "places"),
    [
        ([15.28], [0.121, 0.116, 0.156], 2),
        ([0.613], [0.0061, 0.0068], 3),
        ([0.613], [0.0021], 4),
        ([43.98], [0.9], 1),
        ([1234.0], [55.0], 0),
        ([0.613], [0.0, 1e-12], 6),
        ([15.28, 9.1], [], 1),
        ([0.0613], [0.0], 4),
        ([1234.0], [], 0),
        ([0.0, math.inf], [], 0),
        ([], [], 0),
    ],
)
def test_places_follow_the_error(values, errors, places):
    assert numbers.decimals(values, errors) == places


@pytest.mark.parametrize("value", [None, "3", True, math.nan, [1.0], {}])
def test_what_is_no_number_is_none(value):
    assert numbers.real(value) is None


def test_infinity_is_a_number():
    assert numbers.real(math.inf) == math.inf
    assert numbers.rounded(math.inf, 2) == "∞"
    assert numbers.rounded(-math.inf, 2) == "−∞"


def test_a_minus_sign_stands_before_numbers_only():
    assert numbers.rounded(-1.234, 2) == "−1.23"
    assert numbers.rounded(-0.001, 2) == "0.00"


@pytest.mark.parametrize("value", [None, 3, [1.0], [1.0, 2.0, 3.0], [1.0, None], "12"])
def test_what_is_no_interval_is_none(value):
    assert numbers.interval(value) is None


def test_an_interval_has_two_ends():
    assert numbers.interval([1, 2.5]) == (1.0, 2.5)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "–"), (None, "–"), (0.4312, "0.431"), (12.34, "12.3")]
)
def test_durations_have_three_digits(value, text):
    assert numbers.seconds(value) == text


def test_errors_do_not_look_like_zero():
    assert numbers.error(0.126, 2) == "0.13"
    assert numbers.error(0.0042, 2) == "0.004"
    assert numbers.error(0.0000047, 3) == "0.000005"
    assert numbers.error(0.0, 2) == "0.00"
