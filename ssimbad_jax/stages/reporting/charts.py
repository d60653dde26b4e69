"""Line charts as SVG that takes its colours and fonts from the page around it.

Matplotlib draws them in placeholder colours, which are then replaced by variables of the page's
CSS: so one chart serves light, dark and print.
"""

import io
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import markupsafe
import matplotlib
import numpy as np
from matplotlib import axes as axes_lib
from matplotlib import figure, ticker

WIDTH, HEIGHT = 4.3, 2.6  # inches; small, so that text stays readable on a phone
MOST_POINTS = 400  # longer lines are drawn as means of neighbours
DASHES = ("solid", "dashed", "dotted")
COLOURS = 6

_TOO_PRECISE = re.compile(r"(\d\.\d\d)\d+")  # a hundredth of a point is enough

# Nothing else is drawn in these colours.
_LINES = [f"#00000{number}" for number in range(1, COLOURS + 1)]
_TEXT, _RULE = "#0000a1", "#0000a2"
_VARIABLES = {
    **{colour: f"var(--line-{number})" for number, colour in enumerate(_LINES, start=1)},
    _TEXT: "var(--muted)",
    _RULE: "var(--rule)",
}

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _RULE,
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": _TEXT,
    "ytick.labelcolor": _TEXT,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "font.size": 9,
}


class Line(NamedTuple):
    """A line of a chart.

    Attributes:
        name: what the legend calls it.
        x: `[N]`.
        y: `[N]`, finite.
        style: which colour and dashes; lines of one chart differ in it.
        fit: `[N]`, drawn thin along the line, such as a straight line fitted to it.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    style: int = 0
    fit: np.ndarray | None = None

    @property
    def colour(self) -> int:
        """Number of the page's colour, from 1."""
        return self.style % COLOURS + 1

    @property
    def dashes(self) -> str:
        """One of `DASHES`."""
        return DASHES[self.style // COLOURS % len(DASHES)]


class Chart(NamedTuple):
    """A chart and what is said about it outside of the picture.

    Attributes:
        title: above it.
        lines: for the legend.
        svg: the picture.
    """

    title: str
    lines: Sequence[Line]
    svg: markupsafe.Markup

    @property
    def description(self) -> str:
        """The chart in words, for those who cannot see it."""
        ends = [
            f"{line.name} goes from {line.y[0]:.3g} at {line.x[0]:g} "
            f"to {line.y[-1]:.3g} at {line.x[-1]:g}"
            for line in self.lines
        ]
        return f"Line chart, {self.title}: " + "; ".join(ends) + "."


def line_chart(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    *,
    log_y: bool = False,
    y_range: tuple[float, float] | None = None,
) -> Chart:
    """Returns a chart; equal arguments give equal text.

    Args:
        title: names the chart; it sets apart the ids inside the SVG, too.
        lines: at least one.
        x_label: below the axis.
        log_y: a logarithmic axis, if all values are positive.
        y_range: of the axis; by default that of the lines.
    """
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": title}):
        picture = figure.Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = picture.subplots()
        for line in lines:
            _draw(axes, line)
        if log_y and all((line.y > 0).all() for line in lines):
            axes.set_yscale("log")
            _label_decades(axes, lines)
        axes.set_xlabel(x_label)
        axes.margins(x=0.01)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(ticker.FuncFormatter(_short))
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        if y_range:
            axes.set_ylim(*y_range)
        return Chart(title, lines, _as_svg(picture))


def _draw(axes: axes_lib.Axes, line: Line) -> None:
    x, y = _thinned(line.x, line.y)
    colour, marker = _LINES[line.colour - 1], "o" if len(x) == 1 else ""
    axes.plot(x, y, color=colour, linewidth=1.6, linestyle=line.dashes, marker=marker)
    if line.fit is not None:
        axes.plot(line.x, line.fit, color=colour, linewidth=0.8, linestyle=(0, (4, 3)))


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns at most `MOST_POINTS` points, each the mean of as many neighbours."""
    group = -(-len(x) // MOST_POINTS)
    starts = np.arange(0, len(x), group)
    counts = np.diff([*starts, len(x)])
    return np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts


def _label_decades(axes: axes_lib.Axes, lines: Sequence[Line]) -> None:
    """Labels 1, 2 and 5 as well where the axis spans little."""
    values = np.concatenate([line.y for line in lines])
    decades = np.log10(values.max() / values.min())
    subs = (1.0,) if decades > 2.2 else (1.0, 2.0, 5.0) if decades > 0.5 else range(1, 10)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=tuple(map(float, subs)), numticks=12))
    axes.yaxis.set_minor_locator(ticker.NullLocator())


def _short(value: float, _: int | None = None) -> str:
    """Returns a number as axes show it, without mathematical typesetting."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k" if abs(value) < 1_000_000 else f"{value / 1_000_000:g}M"
    return f"{value:.4g}".replace("e-0", "e-")


def _as_svg(picture: figure.Figure) -> markupsafe.Markup:
    """Returns the picture without what only files of their own need."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    picture.savefig(file, format="svg", transparent=True, metadata=nothing)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true">', svg)
    svg = re.sub(r' id="[A-Za-z]+[\w.]*_\d+"', "", svg)  # those that all charts share
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r"font-family: [^;\"]*; ?", "", svg)
    svg = re.sub(r'"[^"]*"', lambda quoted: _TOO_PRECISE.sub(r"\1", quoted[0]), svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*"', "", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return markupsafe.Markup(re.sub(r"\s*\n\s*", "\n", svg))
