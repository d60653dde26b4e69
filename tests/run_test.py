"""All stages of a run: what they write, and what is refused before any of them."""

import functools
import json
import shutil

import jax
import pytest

from ssimbad_jax.stages import run, validation, weights
from tests import black_pairs, tiny_run


@pytest.mark.parametrize(
    "result",
    [
        "config.json",
        "calibration.json",
        "calibration.png",
        "noise_levels.png",
        "metrics.jsonl",
        "events.out.tfevents.*",
        "checkpoints/pretrain/8",
        "checkpoints/pretrain/24",
        "samples/00000012.png",
        "samples/00000024.png",
        "eval/metrics.json",
        "eval/per_image.csv",
        "eval/grid.png",
        "eval/same/00010.png",
        "eval/cross/00010.png",
        "report.html",
        "run.json",
    ],
)
def test_every_stage_writes_its_results(finished_run, result):
    assert [path for path in finished_run.workdir.glob(result)]


def test_the_config_is_kept(finished_run):
    kept = json.loads((finished_run.workdir / "config.json").read_text())
    assert kept == json.loads(finished_run.config.to_json())
    assert kept["model"]["channel_multipliers"] == [1, 2]


def test_stages_run_in_their_own_order(prepared_dir, tmp_path, monkeypatch, capsys):
    ran, told = [], []

    def stand_in(name, *_, following=None):
        ran.append(name)
        told.append(following)

    stages = {name: functools.partial(stand_in, name) for name in run.STAGES}
    monkeypatch.setattr(run, "STAGES", stages)
    config = tiny_run.make_config(prepared_dir)
    run.run(config, tmp_path / "all", ["evaluate", "report", "calibrate", "train"])
    assert ran == ["calibrate", "train", "evaluate", "report"]
    assert told == [None, ["evaluate", "report"], None, None]  # what trains says what is to come
    run.run(config, tmp_path / "one", ["train"])
    assert ran[4:] == ["train"]
    black_pairs.save(tmp_path / "pairs.npz", 2, tiny_run.IMAGE_SIZE)
    config.eval.pairs = str(tmp_path / "pairs.npz")
    monkeypatch.setattr(weights, "check_exist", lambda *_: None)  # as if it was trained
    run.run(config, tmp_path / "one", ["evaluate"])
    # Where the pictures come from, and how to use one's own; pairs need none.
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert "built-in" in first and "--config.data.dir=" in first
    assert config.data.prepared_dir in first


@pytest.mark.parametrize(
    ("fields", "stages", "message"),
    [
        ({}, ["calibrate", "trian"], r"--stages names 'trian'; choose from calibrate,train"),
        ({"model__num_groups": 3}, ["train"], r"model\.num_groups is 3"),
        ({"eval__pairs": "nowhere.npz"}, ["train", "evaluate"], r"eval\.pairs is 'nowhere\.npz'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    prepared_dir, tmp_path, fields, stages, message
):
    config = tiny_run.make_config(prepared_dir, **fields)
    with pytest.raises((validation.ConfigError, FileNotFoundError), match=message):
        run.run(config, tmp_path / "run", stages)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stages", [["evaluate"], ["report"], ["evaluate", "report"]])
def test_a_mistyped_workdir_is_refused_and_not_made(prepared_dir, tmp_path, stages):
    config = tiny_run.make_config(prepared_dir)
    with pytest.raises(FileNotFoundError, match=r"--workdir=\S*/nothing does not exist; name"):
        run.run(config, tmp_path / "nothing", stages)
    assert not (tmp_path / "nothing").exists()


def test_a_folder_that_is_no_run_is_left_alone(prepared_dir, tmp_path):
    config = tiny_run.make_config(prepared_dir)
    with pytest.raises(FileNotFoundError, match=r"holds no checkpoint; train first"):
        run.run(config, tmp_path, ["evaluate"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="is no run"):
        run.run(config, tmp_path, ["report"])
    assert not (tmp_path / "config.json").exists()


def test_another_config_leaves_a_trained_run_its_calibration(finished_run, tmp_path):
    shutil.copytree(finished_run.workdir, tmp_path / "run")
    before = (tmp_path / "run" / "calibration.json").read_bytes()
    for field, value, difference in (
        ("calibrate.scale", "table", "scale was 'rational' and is 'table'"),
        ("calibrate.c", 0.2, "c was 0.3 and is 0.2"),
        ("diffusion.sigma_max", 40.0, "sigma_max was 80.0 and is 40.0"),
        ("seed", 1, "seed was 0 and is 1"),
    ):
        config = finished_run.config.copy_and_resolve_references()
        config.update_from_flattened_dict({field: value})
        with pytest.raises(
            ValueError, match=f"was trained with, and {difference} now. Use the old"
        ):
            run.run(config, tmp_path / "run", ["calibrate", "train"])
    assert (tmp_path / "run" / "calibration.json").read_bytes() == before


def test_a_workdir_among_the_pictures_is_refused_before_anything_is_written(prepared_dir, tmp_path):
    config = tiny_run.make_config(prepared_dir, data__dir=str(tmp_path))
    with pytest.raises(validation.ConfigError, match=r"--workdir=.*run lies in .*data\.dir"):
        run.run(config, tmp_path / "run", ["train"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stages", [["calibrate", "train"], ["train", "evaluate"]])
def test_a_folder_without_pictures_is_refused_before_anything_is_written(
    prepared_dir, tmp_path, stages
):
    for place, problem in ((tmp_path / "nowhere", "there is no folder"), (tmp_path, "no file")):
        config = tiny_run.make_config(prepared_dir, data__dir=str(place))
        workdir = tmp_path.with_name("run")
        with pytest.raises(validation.ConfigError, match=rf"data\.dir is '{place}': {problem}"):
            run.run(config, workdir, stages)
        assert not workdir.exists()


def test_pairs_of_another_size_are_refused_before_anything_is_written(prepared_dir, tmp_path):
    black_pairs.save(tmp_path / "pairs.npz", 2, 32)
    config = tiny_run.make_config(prepared_dir, eval__pairs=str(tmp_path / "pairs.npz"))
    with pytest.raises(ValueError, match=r"gt in .*data\.image_size = 16"):
        run.run(config, tmp_path / "run", ["train", "evaluate"])
    assert not (tmp_path / "run").exists()


def test_the_time_of_each_stage_is_kept(finished_run):
    record = json.loads((finished_run.workdir / "run.json").read_text())
    assert list(record["stages"]) == run.default_stages(finished_run.config)
    assert all(stage["seconds"] > 0 and stage["finished"] for stage in record["stages"].values())


def test_batch_sizes_are_those_that_devices_share(prepared_dir):
    config = tiny_run.make_config(prepared_dir, train__batch_size=16, train__accumulate=2)
    assert run.batch_sizes(config) == [8, 8]
    assert all(size % jax.device_count() == 0 for size in run.batch_sizes(config))
    validation.check(config, jax.device_count())
