"""The log of a run."""

import json
import os
import pathlib

import pytest
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c

from ssimbad_jax.training import metric_log


def write(directory, start, steps):
    log = metric_log.MetricLog(directory, start)
    for step in steps:
        log.write(step, {"loss": step / 10})
    log.close()


def test_rows_come_back(tmp_path):
    write(tmp_path, 0, [1, 2])
    rows = metric_log.read(tmp_path / "metrics.jsonl")
    assert rows == [{"step": 1, "loss": 0.1}, {"step": 2, "loss": 0.2}]
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_numbers_that_are_not_finite_leave_the_file_valid(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = metric_log.MetricLog(tmp_path)
    log.write(1, {"validation_loss": float("nan"), "update_norm": float("-inf"), "loss": 0.5})
    log.close()
    path.write_text(path.read_text() + '{"step": 2, "loss": NaN}\n')  # as Python writes it
    metric_log.MetricLog(tmp_path, 2).close()
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    first, second = metric_log.read(path)
    assert first == {"step": 1, "validation_loss": None, "update_norm": None, "loss": 0.5}
    assert second == {"step": 2, "loss": None}


def test_rows_after_the_checkpoint_are_dropped(tmp_path):
    write(tmp_path, 0, [1, 2, 3, 4])
    write(tmp_path, 2, [3])
    assert [row["step"] for row in metric_log.read(tmp_path / "metrics.jsonl")] == [1, 2, 3]


def test_whoever_is_killed_has_written_all_events(tmp_path):
    log = metric_log.MetricLog(tmp_path)
    log.write(7, {"loss": 0.5})
    (path,) = tmp_path.glob("events.out.tfevents.*")  # while the log is open
    *_, last = _events(path)
    assert (last.step, last.summary.value[0].tag) == (7, "loss")
    log.close()


def test_what_a_step_lacks(tmp_path):
    write(tmp_path, 0, [1])
    log = metric_log.MetricLog(tmp_path, 1)
    log.write(2, {"validation_loss": 0.5})
    lacks = [
        (step, n) for step in (1, 2) for n in ("loss", "validation_loss") if log.lacks(step, n)
    ]
    assert lacks == [(1, "validation_loss"), (2, "loss")]
    log.close()


def test_a_row_cut_off_by_a_crash_is_left_out(tmp_path):
    write(tmp_path, 0, [1, 2])
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 3, "lo')
    assert len(metric_log.read(path)) == 2
    write(tmp_path, 2, [3])
    assert [row["step"] for row in metric_log.read(path)] == [1, 2, 3]


def _events(path):
    """The records of an event file: length, its checksum, content, its checksum."""
    data = path.read_bytes()
    while data:
        length = int.from_bytes(data[:8], "little")
        content = data[12 : 12 + length]
        assert masked_crc32c(content) == int.from_bytes(data[12 + length : 16 + length], "little")
        yield event_pb2.Event.FromString(content)
        data = data[16 + length :]


def test_tensorboard_gets_the_numbers_and_where_a_run_was_continued(tmp_path):
    write(tmp_path, 2, [3, 4])
    version, start, *rows = _events(next(tmp_path.glob("events.out.tfevents.*")))
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (3, event_pb2.SessionLog.START)
    values = [
        (row.step, row.summary.value[0].tag, row.summary.value[0].simple_value) for row in rows
    ]
    assert values == [(3, "loss", pytest.approx(0.3)), (4, "loss", pytest.approx(0.4))]


def test_a_full_disk_costs_no_rows(tmp_path, monkeypatch):
    write(tmp_path, 0, [1, 2, 3, 4])
    write_text = pathlib.Path.write_text

    def fails_halfway(path, text, **keywords):
        write_text(path, text[: len(text) // 2], **keywords)
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(pathlib.Path, "write_text", fails_halfway)
    with pytest.raises(OSError, match="No space"):
        metric_log.MetricLog(tmp_path, 3)
    assert len(metric_log.read(tmp_path / "metrics.jsonl")) == 4


def test_no_log_has_no_rows(tmp_path):
    assert metric_log.read(tmp_path / "metrics.jsonl") == []
