"""What is seen of the preparation of data."""

import time

from ssimbad_jax.data import counting


def test_plain_lines_come_every_half_minute_where_there_is_no_terminal(monkeypatch, capsys):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    assert list(counting.counted("abcde", "storing pictures", 5, "files")) == list("abcde")
    assert capsys.readouterr().out.splitlines() == [
        "storing pictures: 2/5 files, 0.05/s, 01:00 left",
        "storing pictures: 4/5 files, 0.05/s, 00:20 left",
    ]


def test_short_work_says_nothing(capsys):
    assert list(counting.counted([], "storing pictures", 0, "files")) == []
    assert list(counting.counted(range(3), "storing pictures", 3, "files")) == [0, 1, 2]
    assert capsys.readouterr().out == ""
