"""A study of a tiny run: what it scores, and that it can be stopped and goes on."""

import dataclasses
import itertools
import json
import shutil

import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import sampling_study, weights
from ssimbad_jax.stages.studying import bench, figure, plan, table
from ssimbad_jax.stages.studying import rows as rows_lib
from ssimbad_jax.training import interruption, sharding
from tests import tiny_run

pytestmark = pytest.mark.usefixtures("quick_compilation")

SETTINGS = plan.Settings(
    samplers=("euler", "heun"), grids=("rational", "edm"), calls=(1, 2), batch_size=16
)
SCORES = (*rows_lib.METRICS, "rmse_to_reference", "network_calls", "seconds_per_picture")
# Two grids from two sigma_max, in two settings: Euler in one and two calls, Heun in one; and the
# reference.
COUNT = 2 * 2 * 2 * 3 + 2


@pytest.fixture(scope="module")
def out(finished_run, tmp_path_factory):
    """The results of a whole study."""
    folder = tmp_path_factory.mktemp("study")
    sampling_study.study(finished_run.workdir, folder, SETTINGS)
    return folder


def _rows(folder):
    return [json.loads(line) for line in (folder / rows_lib.ROWS).read_text().splitlines()]


def _row(folder, **wanted):
    (row,) = [row for row in _rows(folder) if wanted.items() <= row.items()]
    return row


def _bench(finished_run, samplers, **options):
    config = finished_run.config.copy_and_resolve_references()
    config.eval.update(options)
    drawn = np.zeros((8, 16, 16, 3), np.uint8)
    test_pairs = pairs.Pairs(drawn, drawn[..., 0], drawn, drawn)
    return bench.Bench(config, finished_run.workdir, test_pairs, sharding.data_mesh(), samplers)


def test_every_combination_has_a_row_and_all_files_are_there(out):
    made = _rows(out)
    assert len(made) == COUNT
    for row in made:
        assert row["pictures"] == tiny_run.TEST_IMAGES and row["checkpoint_step"] == tiny_run.STEPS
        assert row["seconds_per_picture"] > 0 and row["lpips_alex_standard_error"] > 0
    for name in (rows_lib.CSV, table.PAGE, figure.FIGURE):
        assert (out / name).stat().st_size > 500
    assert len((out / rows_lib.CSV).read_text().splitlines()) == COUNT + 1


@pytest.mark.parametrize("setting", pairs.SETTINGS)
def test_scores_are_those_of_the_evaluation(out, finished_run, setting):
    summary = json.loads((finished_run.workdir / "eval" / "metrics.json").read_text())
    for method, steps in (("euler-2", 2), ("posterior mean", 1)):
        (scored,) = [row for row in summary["rows"] if row["method"] == method]
        row = _row(
            out, sampler="euler", grid="rational", sigma_max=80.0, steps=steps, setting=setting
        )
        for name in ("psnr", "ssim", "psnr_standard_error", "ssim_standard_error"):
            metric, _, error = name.partition("_")
            key = f"{metric}_{setting}" + (f"_{error}" if error else "")
            assert row[name] == pytest.approx(scored[key], abs=2e-3)


def test_the_distance_is_that_between_the_pictures(out, finished_run):
    """Of pictures that the evaluation saved."""
    for setting in pairs.SETTINGS:
        folder = finished_run.workdir / "eval" / setting
        pixels = np.stack([np.asarray(PIL.Image.open(p), float) for p in sorted(folder.glob("*"))])
        reference = np.load(out / f"reference_pretrain_{setting}.npy")
        row = _row(out, sampler="euler", grid="rational", sigma_max=80.0, steps=2, setting=setting)
        expected = np.sqrt(np.mean((pixels - reference) ** 2))
        assert row["rmse_to_reference"] == pytest.approx(expected, abs=0.05)
        assert _row(out, is_reference=True, setting=setting)["rmse_to_reference"] == 0


def test_one_call_is_the_posterior_mean_for_all(out):
    for setting in pairs.SETTINGS:
        for sigma_max in (80.0, 5.0):
            made = [
                row
                for row in _rows(out)
                if (row["network_calls"], row["setting"], row["sigma_max"])
                == (1, setting, sigma_max)
            ]
            assert len(made) == 4
            for metric in rows_lib.METRICS:
                assert np.ptp([row[metric] for row in made]) < 1e-3


@pytest.fixture
def quick_bench(monkeypatch):
    """Saves the time of network and figure where they do not matter; lists what was compiled."""
    compiled = []

    def compile_nothing(self, sampler, steps, params):
        compiled.append((sampler, steps))
        pixels = np.zeros((self.images, 16, 16, 3), np.uint8)
        return lambda params, grid, setting: (pixels + np.uint8(grid.sum()), 0.5)

    monkeypatch.setattr(bench.Bench, "compile", compile_nothing)
    monkeypatch.setattr(
        bench.Bench, "score", lambda self, pixels, setting: dict.fromkeys(rows_lib.METRICS, 1.0)
    )
    monkeypatch.setattr(figure, "draw", lambda folder, rows: (folder / figure.FIGURE).touch())
    return compiled


def test_a_stopped_study_goes_on_and_samples_nothing_twice(
    quick_bench, finished_run, tmp_path, monkeypatch
):
    stopped, whole, score = tmp_path / "stopped", tmp_path / "whole", bench.Bench.score

    def stop_at_the_fifth(*arguments):
        if len(_rows(stopped)) == 4:
            raise interruption.Interrupted("stopped by SIGTERM")
        return score(*arguments)

    shapes = [("heun", 50), ("euler", 1), ("heun", 1), ("euler", 2)]
    sampling_study.study(finished_run.workdir, whole, SETTINGS)
    assert quick_bench == shapes, "one compilation for all grids and settings"
    quick_bench.clear()
    monkeypatch.setattr(bench.Bench, "score", stop_at_the_fifth)
    with pytest.raises(interruption.Interrupted):
        sampling_study.study(finished_run.workdir, stopped, SETTINGS)
    assert len(_rows(stopped)) == 4 and quick_bench == shapes[:2]
    assert (stopped / table.PAGE).exists() and (stopped / figure.FIGURE).exists()
    (stopped / "reference_pretrain_same.npy").unlink()  # is made again
    monkeypatch.setattr(bench.Bench, "score", score)
    quick_bench.clear()
    sampling_study.study(finished_run.workdir, stopped, SETTINGS)
    assert quick_bench == shapes
    assert len(_rows(whole)) == COUNT
    for name in (rows_lib.ROWS, rows_lib.CSV, rows_lib.BELONGS_TO, table.PAGE):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()
    quick_bench.clear()
    sampling_study.study(finished_run.workdir, stopped, SETTINGS)
    assert quick_bench == []
    assert (stopped / rows_lib.ROWS).read_bytes() == (whole / rows_lib.ROWS).read_bytes()


def test_a_study_can_be_widened(quick_bench, finished_run, tmp_path):
    sampling_study.study(finished_run.workdir, tmp_path, SETTINGS)
    before = _rows(tmp_path)
    quick_bench.clear()
    wider = dataclasses.replace(SETTINGS, calls=(1, 2, 3), grids=("edm",), sigma_max=(80.0,))
    sampling_study.study(finished_run.workdir, tmp_path, wider)
    assert quick_bench == [("euler", 3), ("heun", 2)]
    assert _rows(tmp_path)[:COUNT] == before and len(_rows(tmp_path)) == COUNT + 4


def test_the_same_walk_is_walked_once(quick_bench, finished_run, tmp_path):
    settings = dataclasses.replace(
        SETTINGS,
        samplers=("ddim", "euler"),
        grids=("sub_grid", "rational"),
        calls=(plan.SUB_GRID_STEPS,),
        sigma_max=(80.0,),
    )
    sampling_study.study(finished_run.workdir, tmp_path, settings)
    assert quick_bench == [("heun", 50), ("ddim", plan.SUB_GRID_STEPS)]
    made = [row for row in _rows(tmp_path) if not row["is_reference"]]
    assert {(row["sampler"], row["grid"], row["setting"]) for row in made} == {
        (*pair, setting)
        for pair in itertools.product(settings.samplers, settings.grids)
        for setting in pairs.SETTINGS
    }
    labels = {row["grid"]: row["grid_label"] for row in made}
    assert labels["sub_grid"].startswith("part of") and labels["rational"].startswith("c = ")
    for setting in pairs.SETTINGS:
        scores = [[row[name] for name in SCORES] for row in made if row["setting"] == setting]
        assert scores == scores[:1] * 4


def test_walks_are_the_same_with_these_options_only(finished_run):
    def walks_as(*samplers, **options):
        made = _bench(finished_run, samplers, **options)
        return [made.walks_as(name) for name in samplers]

    assert walks_as("ddim", "euler", "unipc") == ["euler", "euler", "unipc"]
    assert walks_as("ddim", "euler", eta=0.5) == ["ddim", "euler"]
    assert walks_as("ddim", "euler", clip_denoised=True) == ["ddim", "euler"]
    assert walks_as("ddim", "euler", churn=10.0) == ["ddim", "euler"]
    # What Euler would do in another call is not known here.
    assert walks_as("ddim") == ["ddim"]


def test_rows_of_other_pictures_or_another_network_are_not_mixed(
    out, finished_run, tmp_path, monkeypatch
):
    shutil.copytree(out, tmp_path, dirs_exist_ok=True)
    before = _rows(tmp_path)
    fewer = dataclasses.replace(SETTINGS, images=5)
    with pytest.raises(ValueError, match=r"another study: pictures was 11 and is 5; name another"):
        sampling_study.study(finished_run.workdir, tmp_path, fewer)
    monkeypatch.setattr(
        sampling_study,
        "load_weights",
        lambda *arguments: [
            weights.Weights("pretrain", tiny_run.STEPS, {"w": np.zeros(3, np.float32)}, {})
        ],
    )
    with pytest.raises(ValueError, match="another study: weights pretrain was"):
        sampling_study.study(finished_run.workdir, tmp_path, SETTINGS)
    assert _rows(tmp_path) == before


def test_a_run_without_checkpoint_and_pairs_of_another_size_are_refused(finished_run, tmp_path):
    workdir, folder = tmp_path / "run", tmp_path / "out"
    workdir.mkdir()
    for name in ("config.json", "calibration.json"):
        shutil.copy(finished_run.workdir / name, workdir)
    with pytest.raises(FileNotFoundError, match=r"checkpoints.*train first"):
        sampling_study.study(workdir, folder, SETTINGS)
    drawn = np.zeros((3, 8, 8, 3), np.uint8)
    large = pairs.Pairs(drawn, drawn[..., 0], drawn, drawn)
    np.savez(tmp_path / "pairs.npz", **large._asdict())
    with pytest.raises(ValueError, match=r"gt in .*pairs.npz is uint8 \(3, 8, 8, 3\), expected"):
        sampling_study.study(finished_run.workdir, folder, SETTINGS, str(tmp_path / "pairs.npz"))
    with pytest.raises(FileNotFoundError, match=r"config.json does not exist"):
        sampling_study.study(tmp_path / "nowhere", folder, SETTINGS)
    assert not folder.exists()


@pytest.mark.usefixtures("quick_bench")
def test_samplers_that_draw_noise_have_no_distance(finished_run, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.Bench, "_depends_on_key", lambda self, name: name == "euler")
    sampling_study.study(finished_run.workdir, tmp_path, SETTINGS)
    for row in _rows(tmp_path):
        assert (row["rmse_to_reference"] is None) == (row["sampler"] == "euler")


def test_churn_makes_a_sampler_draw_noise(finished_run):
    for churn, stochastic in ((0.0, set()), (10.0, {"euler", "heun"})):
        assert _bench(finished_run, ["euler", "heun"], churn=churn).stochastic == stochastic
