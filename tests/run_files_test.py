"""What a workdir holds: whole, in parts, and broken."""

import json
import pathlib

import numpy as np
import pytest

from ssimbad_jax.stages.reporting import run_files
from tests import written_run


@pytest.fixture
def workdir(tmp_path):
    return written_run.write(tmp_path / "run")


def test_a_whole_run_is_read_without_notes(workdir):
    run = run_files.read(workdir, "a name")
    assert run.name == "a name" and run.notes == ()
    assert run.config["train.batch_size"] == 32
    assert len(run.log) == 30 + 6 and run.log[-1]["step"] == 1500
    assert [axis.name.split(",")[0] for axis in run.calibration.axes] == ["DDPM", "EDM", "SSIMBaD"]
    assert [score.name for score in run.scores] == ["eval"]
    assert run.record["stages"]["train"]["starts"] == 3


@pytest.mark.parametrize(
    ("file", "note"),
    [
        ("config.json", "There is no config.json."),
        ("calibration.json", "not calibrated yet (--stages=calibrate)"),
        ("metrics.jsonl", "not trained yet (--stages=train)"),
        ("eval/metrics.json", "not evaluated yet (--stages=evaluate)"),
        ("run.json", "times and versions are not known"),
    ],
)
def test_what_is_missing_is_noted(workdir, file, note):
    (workdir / file).unlink()
    (found,) = run_files.read(workdir, "run").notes
    assert note in found


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b'"text"'])
@pytest.mark.parametrize(
    "file", ["config.json", "calibration.json", "eval/metrics.json", "run.json"]
)
def test_what_is_broken_is_noted(workdir, file, content):
    (workdir / file).write_bytes(content)
    notes = run_files.read(workdir, "run").notes
    assert any(pathlib.Path(file).name in note for note in notes)


@pytest.mark.parametrize(
    ("changed", "file"),
    [
        ({"rows": 3}, "eval/metrics.json"),
        ({"rows": [3]}, "eval/metrics.json"),
        ({"rows": [{"psnr_same": 3}]}, "eval/metrics.json"),
        ({"metrics": []}, "eval/metrics.json"),
        ({"mean_ssim": [1.0]}, "calibration.json"),
        ({"sigma": "many"}, "calibration.json"),
        ({"candidates": [{"name": "a", "r2": None}]}, "calibration.json"),
        ({"chosen": {"kind": "rational"}}, "calibration.json"),
        ({"request": {}}, "calibration.json"),
        ({"stages": {"train": None}}, "run.json"),
    ],
)
def test_json_of_another_shape_is_noted(workdir, changed, file):
    content = json.loads((workdir / file).read_text())
    (workdir / file).write_text(json.dumps(content | changed))
    (note,) = run_files.read(workdir, "run").notes
    assert pathlib.Path(file).name in note


def test_a_training_under_way_is_noted(tmp_path):
    run = run_files.read(written_run.write(tmp_path / "run", steps=900), "run")
    assert run.notes == ("Training is under way or was interrupted: step 900 of 1500.",)


def test_rows_of_the_log_that_are_none_are_left_out(workdir):
    log = workdir / "metrics.jsonl"
    log.write_text(
        '{"step": 1, "loss": 0.5, "text": "a", "nan": NaN}\n[1]\n{"loss": 3}\n{"step": 2}\n{"st'
    )
    assert run_files.read(workdir, "run").log == [{"step": 1, "loss": 0.5}, {"step": 2}]


def test_every_folder_of_scores_is_found(workdir):
    summary = written_run.scores(np.random.default_rng(1))
    for name in ("scores/of_other_pairs", "eval_euler10"):
        written_run.write_scores(workdir / name, summary)
    found = run_files.read(workdir, "run").scores
    assert [score.name for score in found] == ["eval", "eval_euler10", "scores/of_other_pairs"]


def test_a_folder_that_is_no_run_is_refused_with_one_line(tmp_path):
    (tmp_path / "metrics.json").write_text("{}")
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            ValueError, match=r"is no run: it holds no config\.json.*--workdir"
        ) as e:
            run_files.read(folder, "run")
        assert "\n" not in str(e.value) and str(folder) in str(e.value)


def test_names_are_as_long_as_needed(tmp_path):
    paths = [tmp_path / name for name in ("a/run", "b/run", "c/other")]
    assert run_files.names(paths[:1]) == ["run"]
    assert run_files.names(paths) == ["a/run", "b/run", "c/other"]
    with pytest.raises(ValueError, match="named twice"):
        run_files.names([paths[0], paths[1] / ".." / ".." / "a" / "run"])
