"""Times of stages add up, whatever ends a run."""

import json
import platform
import time
from concurrent import futures

import jax
import pytest

import ssimbad_jax
from ssimbad_jax.stages import run_record
from ssimbad_jax.training import numerics


def _stages(workdir):
    return run_record.read(workdir / run_record.RESULT)["stages"]


def test_a_stage_leaves_its_time_and_what_ran_it(tmp_path):
    with run_record.timed(tmp_path, "train", "quickstart"):
        time.sleep(0.05)
    record = run_record.read(tmp_path / "run.json")
    stage = record["stages"]["train"]
    assert 0.05 <= stage["seconds"] < 5
    assert stage["starts"] == 1
    assert stage["finished"].endswith("+00:00")
    assert record["config"] == "quickstart"
    assert record["versions"]["python"] == platform.python_version()
    assert record["versions"]["jax"] == jax.__version__
    assert record["versions"]["ssimbad_jax"] == ssimbad_jax.__version__
    assert record["devices"]["count"] == jax.device_count()
    assert stage["devices"] == record["devices"]
    assert stage["numerics"] == record["numerics"] == numerics.record()
    assert {path.name for path in tmp_path.iterdir()} - {run_record.LOCK_FILE} == {"run.json"}


def test_an_interrupted_stage_adds_up(tmp_path):
    with pytest.raises(KeyboardInterrupt), run_record.timed(tmp_path, "train", "quickstart"):
        time.sleep(0.05)
        raise KeyboardInterrupt
    before = _stages(tmp_path)["train"]
    assert before["finished"] is None
    with run_record.timed(tmp_path, "train"):
        time.sleep(0.05)
    with run_record.timed(tmp_path, "evaluate"):
        pass
    after = _stages(tmp_path)
    assert list(after) == ["train", "evaluate"]
    assert after["train"]["seconds"] >= before["seconds"] + 0.05
    assert after["train"]["starts"] == 2 and after["train"]["finished"]
    assert run_record.read(tmp_path / "run.json")["config"] == "quickstart"


def test_stages_that_run_at_once_do_not_lose_each_other(tmp_path):
    """A run may be scored while it is trained."""
    with run_record.timed(tmp_path, "train"), run_record.timed(tmp_path, "evaluate"):
        pass
    stages = _stages(tmp_path)
    assert stages["train"]["finished"] and stages["evaluate"]["finished"]


def test_many_stages_that_write_at_once_spoil_no_record(tmp_path, capsys):
    def start(name):
        for _ in range(30):
            with run_record.timed(tmp_path, name, seconds_between_writes=0.001):
                time.sleep(0.002)

    names = ["train", "evaluate", "report"]
    with futures.ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(start, names))
    assert {name: stage["starts"] for name, stage in _stages(tmp_path).items()} == {
        name: 30 for name in names
    }
    assert capsys.readouterr().out == ""


def test_the_time_is_written_while_a_stage_runs(tmp_path):
    """What a killed process leaves behind."""
    with run_record.timed(tmp_path, "train", seconds_between_writes=0.01):
        deadline = time.monotonic() + 20
        while _stages(tmp_path)["train"]["seconds"] < 0.05 and time.monotonic() < deadline:
            time.sleep(0.01)
        during = _stages(tmp_path)["train"]
    assert during["seconds"] >= 0.05
    assert during["finished"] is None


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"stages": {"train": 3}}', '{"stages": {"train": {"seconds": 1}}}']
)
def test_a_broken_record_is_said_and_begun_anew(tmp_path, content, capsys):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError):
        run_record.read(tmp_path / "run.json")
    with run_record.timed(tmp_path, "train"):
        pass
    assert "counted anew" in capsys.readouterr().out
    assert _stages(tmp_path)["train"]["starts"] == 1


def test_times_that_cannot_be_written_stop_no_stage(tmp_path, capsys):
    workdir = tmp_path / "run"
    workdir.mkdir()
    with run_record.timed(workdir, "train"):
        (workdir / "run.json").unlink()
        (workdir / "run.json").mkdir()
    assert "train: its time could not be written" in capsys.readouterr().out


def test_a_workdir_that_cannot_be_written_is_noticed_at_the_start(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError), run_record.timed(tmp_path / "file", "train"):
        pytest.fail("the stage began")


def test_the_record_is_plain_json(tmp_path):
    with run_record.timed(tmp_path, "train"):
        pass
    assert json.loads((tmp_path / "run.json").read_text())["devices"]["platform"] == "cpu"


@pytest.mark.parametrize(
    ("devices", "name"),
    [
        ({"kind": "TPU v5e", "count": 16, "hosts": 4}, "16 × TPU v5e on 4 hosts"),
        ({"kind": "cpu", "count": 2, "hosts": 1}, "2 × cpu"),
        (None, ""),
    ],
)
def test_devices_have_a_name(devices, name):
    assert run_record.name_of(devices) == name
