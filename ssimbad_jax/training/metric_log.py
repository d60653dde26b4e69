"""The log of a run: `metrics.jsonl` for programs, TensorBoard events for people."""

import contextlib
import json
import math
import os
import pathlib
import socket
import time
from typing import Any

import jax
from tensorboardX import record_writer, summary
from tensorboardX.proto import event_pb2

from ssimbad_jax.training import sharding, whole_file


class MetricLog:
    """Writes rows of numbers, each with its step; of several hosts only the first writes."""

    def __init__(self, directory: pathlib.Path, start_step: int = 0):
        """Opens the log for appending.

        Args:
            directory: holds `metrics.jsonl` and the event files.
            start_step: the step the run continues from. Rows of later steps, written by a run
                that was interrupted after its last checkpoint, are dropped.
        """
        self._writes = jax.process_index() == 0
        if not self._writes:
            return
        self._path = directory / "metrics.jsonl"
        directory.mkdir(parents=True, exist_ok=True)
        _drop_rows_after(self._path, start_step)
        self._file = self._path.open("a", encoding="utf-8")
        # Not its SummaryWriter: a thread of that writes, dies of a full disk, and the training
        # would wait for it for ever.
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self._events = record_writer.RecordWriter(str(directory / name))
        self._write_event(file_version="brain.Event:2")
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write_event(step=start_step + 1, session_log=start)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Appends one row.

        Args:
            step: steps taken so far.
            values: numbers by name. One that is not finite, which JSON has no word for, becomes
                null in `metrics.jsonl`.
        """
        if not self._writes:
            return
        self._file.write(_line({"step": step, **values}))
        self._file.flush()
        for name, value in values.items():
            self._write_event(step=step, summary=summary.scalar(name, value))
        self._events.flush()  # its file is buffered, and a kill would take hundreds of steps

    def lacks(self, step: int, name: str) -> bool:
        """Returns whether no row of a step has a number of this name, the same on all hosts."""
        is_missing = self._writes and not any(
            row["step"] == step and name in row for row in read(self._path)
        )
        return sharding.on_any_host(is_missing)

    def close(self) -> None:
        """Writes what is left and closes the files."""
        if self._writes:
            with contextlib.closing(self._events), contextlib.closing(self._file):
                pass  # both, even where the disk is full and one of them raises

    def _write_event(self, **content: Any) -> None:
        self._events.write(event_pb2.Event(wall_time=time.time(), **content).SerializeToString())


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the rows of a `metrics.jsonl`; a last line cut off by a crash is left out.

    Their values are numbers, or None for those that were not finite.
    """
    rows = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return rows


def _line(row: dict[str, Any]) -> str:
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }
    return json.dumps(finite, allow_nan=False) + "\n"


def _drop_rows_after(path: pathlib.Path, step: int) -> None:
    rows = [row for row in read(path) if row["step"] <= step]
    if path.exists():
        # At once: a full disk or a kill in the middle must not cost the whole log.
        with whole_file.replacing(path) as unfinished:
            unfinished.write_text("".join(map(_line, rows)), encoding="utf-8")
