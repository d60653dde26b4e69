"""What a person sees while a stage runs."""

import pytest

from ssimbad_jax.training import progress


@pytest.mark.parametrize(
    "seconds,text",
    [
        (0.4, "0 s"),
        (59, "59 s"),
        (61, "1 min 1 s"),
        (7500, "2 h 5 min"),
        (90000, "1 day 1 h"),
        (180000, "2 days 2 h"),
    ],
)
def test_durations(seconds, text):
    assert progress.format_duration(seconds) == text


def test_plain_lines_without_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with progress.Progress("train", 10, start=4) as bar:
        bar.advance(3, note="loss 0.5")
        bar.advance(3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("train: 7/10 steps, ")
    assert lines[0].endswith("left, loss 0.5")
    assert "10/10" in lines[1]
