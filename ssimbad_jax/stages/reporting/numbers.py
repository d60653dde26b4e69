"""Numbers out of files that may hold anything, and as text with sensible digits."""

import math
from collections.abc import Iterable
from typing import Any

MISSING = "–"


def real(value: Any) -> float | None:
    """Returns a number, infinity among them (PSNR of equal pictures), or None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and not math.isnan(value) else None


def items(value: Any) -> list[Any]:
    """Returns a list, or an empty one for anything else."""
    return value if isinstance(value, list) else []


def interval(value: Any) -> tuple[float, float] | None:
    """Returns the ends of an interval, or None."""
    ends = [end for end in map(real, items(value)) if end is not None]
    return (ends[0], ends[1]) if len(ends) == 2 else None


def count(value: Any) -> str:
    """Returns a whole number as text."""
    return f"{value:,}" if isinstance(value, int) else MISSING


def seconds(value: Any) -> str:
    """Returns a duration as text; nothing takes no time."""
    number = real(value)
    if not number:
        return MISSING
    return f"{number:.3f}" if number < 10 else f"{number:.1f}"


def rounded(value: float, places: int) -> str:
    """Returns a number with its places behind the point and a proper minus sign."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:z.{places}f}".replace("-", "−")


def error(value: float, places: int) -> str:
    """Returns a positive number with these places, or more if it would look like zero."""
    text = f"{value:.{places}f}"
    if float(text) or not value:
        return text
    return f"{value:.{-math.floor(math.log10(value))}f}"


def decimals(values: Iterable[float], errors: Iterable[float]) -> int:
    """Returns the places to show: errors keep one digit, or two if they begin with 1 or 2.

    Without errors the values show three significant digits.
    """
    sizes = sorted(error for error in errors if error > 0)
    if sizes:
        typical = sizes[len(sizes) // 2]
        exponent = math.floor(math.log10(typical))
        digits = 2 if typical / 10**exponent < 3 else 1
        return max(0, min(6, digits - 1 - exponent))
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return max(0, min(6, 2 - math.floor(math.log10(largest)))) if largest else 0
