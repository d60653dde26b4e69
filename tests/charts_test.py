"""Charts take colours and fonts from the page, and show what they were given."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from ssimbad_jax.stages.reporting import charts


def _line(count=5, style=0, name="loss"):
    x = np.arange(1.0, count + 1)
    return charts.Line(name, x, 1 / x, style)


def test_a_chart_is_well_formed_and_refers_to_nothing_outside():
    svg = str(charts.line_chart("Loss", [_line()], "step").svg)
    ElementTree.fromstring(svg)
    assert "http" not in svg and "font-family" not in svg
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', svg))


def test_all_colours_are_those_of_the_page():
    lines = [_line(style=style, name=f"run {style}") for style in range(charts.COLOURS + 1)]
    svg = str(charts.line_chart("Loss", lines, "step", log_y=True).svg)
    assert re.findall(r"#[0-9a-f]{6}\b|rgb", svg) == []
    assert {f"var(--line-{number})" for number in range(1, charts.COLOURS + 1)} <= set(
        re.findall(r"var\([^)]*\)", svg)
    )


def test_more_lines_than_colours_differ_in_their_dashes():
    styles = [_line(style=style) for style in range(charts.COLOURS * len(charts.DASHES))]
    assert len({(line.colour, line.dashes) for line in styles}) == len(styles)


def test_equal_arguments_give_equal_text_and_other_titles_other_ids():
    first, again, other = (
        str(charts.line_chart(title, [_line()], "step").svg) for title in ("a", "a", "b")
    )
    assert first == again
    ids = [set(re.findall(r'\bid="([^"]*)"', svg)) for svg in (first, other)]
    assert ids[0] and not ids[0] & ids[1]


@pytest.mark.parametrize(("log_y", "values"), [(False, [0.0, 0.0002]), (True, [0.0002, 0.0007])])
def test_small_numbers_keep_their_digits_on_the_axis(log_y, values):
    line = charts.Line("rate", np.arange(2.0), np.asarray(values))
    svg = str(charts.line_chart("Rate", [line], "step", log_y=log_y).svg)
    assert "0.0002" in re.findall(r">([^<]+)</text>", svg)


def test_a_value_that_has_no_logarithm_gives_a_linear_axis():
    line = charts.Line("loss", np.arange(3.0), np.array([0.0, 1.0, 2.0]))
    labels = re.findall(
        r">([^<]+)</text>", str(charts.line_chart("a", [line], "b", log_y=True).svg)
    )
    assert "0" in labels


def test_long_lines_are_drawn_as_means_of_neighbours():
    x, y = charts._thinned(np.arange(1001.0), np.arange(1001.0) * 2)
    assert len(x) <= charts.MOST_POINTS
    np.testing.assert_allclose(y, 2 * x)
    np.testing.assert_allclose(x[:2], [1.0, 4.0])
    np.testing.assert_allclose(x[-1], np.mean([999.0, 1000.0]))
    np.testing.assert_array_equal(charts._thinned(np.arange(3.0), np.ones(3))[0], np.arange(3.0))


def test_a_chart_is_told_in_words():
    chart = charts.line_chart("Loss", [_line(4)], "step")
    assert chart.description == "Line chart, Loss: loss goes from 1 at 1 to 0.25 at 4."
