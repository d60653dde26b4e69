"""The log of a run."""

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


def test_rows_after_the_checkpoint_are_dropped(tmp_path):
    write(tmp_path, 0, [1, 2, 3, 4])
    write(tmp_path, 2, [3])
    assert [row["step"] for row in metric_log.read(tmp_path / "metrics.jsonl")] == [1, 2, 3]


def test_a_row_cut_off_by_a_crash_is_left_out(tmp_path):
    write(tmp_path, 0, [1, 2])
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 3, "lo')
    assert len(metric_log.read(path)) == 2
    write(tmp_path, 2, [3])
    assert [row["step"] for row in metric_log.read(path)] == [1, 2, 3]


def test_no_log_has_no_rows(tmp_path):
    assert metric_log.read(tmp_path / "metrics.jsonl") == []
