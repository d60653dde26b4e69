"""Scoring, on a tiny run: what counts, what it depends on, and what it does not."""

import csv
import itertools
import json
import math
import shutil

import jax
import numpy as np
import PIL.Image
import pytest
import skimage.metrics

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import (
    components,
    evaluate,
    pictures,
    score_files,
    scores,
    solvers,
)
from ssimbad_jax.streams import Stream
from ssimbad_jax.training import metric_log
from tests import tiny_run

pytestmark = pytest.mark.usefixtures("quick_compilation")

METHODS = ["euler-2", "posterior mean", "copy the reference", "mean colour of the reference"]


@pytest.fixture(scope="module")
def test_pairs(finished_run):
    """The pairs that the finished run was scored on."""
    return evaluate.open_pairs(finished_run.config)


@pytest.fixture
def score(finished_run, prepared_dir):
    """Scores the finished run in a folder of its own."""

    def run(folder, **fields):
        config = tiny_run.make_config(prepared_dir, eval__folder=folder, **fields)
        evaluate.evaluate(config, finished_run.workdir)
        return finished_run.workdir / folder

    return run


def _summary(folder):
    return json.loads((folder / "metrics.json").read_text())


def _row(folder, method="euler-2"):
    (row,) = [row for row in _summary(folder)["rows"] if row["method"] == method]
    return row


def _pixels(folder, setting):
    return np.stack(
        [np.asarray(PIL.Image.open(path)) for path in sorted((folder / setting).glob("*.png"))]
    )


def _save_pairs(path, changed):
    np.savez(path, **changed._asdict())
    return str(path)


def test_every_picture_counts(finished_run):
    """Eleven pictures in batches of eight."""
    folder = finished_run.workdir / "eval"
    summary = _summary(folder)
    assert summary["num_images"] == tiny_run.TEST_IMAGES
    assert summary["checkpoint_step"] == tiny_run.STEPS
    assert [row["method"] for row in summary["rows"]] == METHODS
    assert [row["network_calls"] for row in summary["rows"]] == [2, 1, 0, 0]
    with (folder / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(METHODS) * tiny_run.TEST_IMAGES
    for setting in pairs.SETTINGS:
        for method in METHODS:
            chosen = [r for r in rows if (r["setting"], r["method"]) == (setting, method)]
            assert [int(r["image"]) for r in chosen] == list(range(tiny_run.TEST_IMAGES))
            for metric in ("psnr", "ssim"):
                values = np.array([float(r[metric]) for r in chosen])
                row = _row(folder, method)
                name = f"{metric}_{setting}"
                assert row[name] == pytest.approx(values.mean(), abs=1e-4)
                error = values.std(ddof=1) / math.sqrt(len(values))
                assert row[f"{name}_standard_error"] == pytest.approx(error, abs=1e-4)


def test_other_tools_find_the_same_scores_in_the_pngs(finished_run, test_pairs):
    folder = finished_run.workdir / "eval"
    targets = _pixels(folder, score_files.TARGETS)
    np.testing.assert_array_equal(targets, test_pairs.gt)
    for setting in pairs.SETTINGS:
        results = _pixels(folder, setting)
        assert results.shape == targets.shape
        psnr = [
            skimage.metrics.peak_signal_noise_ratio(truth, result)
            for truth, result in zip(targets, results, strict=True)
        ]
        ssim = [
            skimage.metrics.structural_similarity(
                truth,
                result,
                channel_axis=-1,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for truth, result in zip(targets, results, strict=True)
        ]
        row = _row(folder)
        assert row[f"psnr_{setting}"] == pytest.approx(np.mean(psnr), abs=1e-3)
        assert row[f"ssim_{setting}"] == pytest.approx(np.mean(ssim), abs=1e-4)


def test_simple_answers_are_what_they_say(finished_run, test_pairs):
    folder = finished_run.workdir / "eval"
    for setting in pairs.SETTINGS:
        reference = test_pairs.reference(setting)
        mean = np.rint(reference.mean(axis=(1, 2), keepdims=True)).astype(np.uint8)
        for method, answer in (
            ("copy the reference", reference),
            ("mean colour of the reference", np.broadcast_to(mean, reference.shape)),
        ):
            psnr = [
                skimage.metrics.peak_signal_noise_ratio(truth, guess)
                for truth, guess in zip(test_pairs.gt, answer, strict=True)
            ]
            assert _row(folder, method)[f"psnr_{setting}"] == pytest.approx(np.mean(psnr), abs=1e-3)


def test_the_batch_size_changes_nothing(finished_run, score):
    other = score("eval_16", eval__batch_size=16)
    first = finished_run.workdir / "eval"
    for setting in pairs.SETTINGS:
        difference = _pixels(first, setting).astype(int) - _pixels(other, setting)
        assert np.abs(difference).max() <= 1
        assert _row(other)[f"psnr_{setting}"] == pytest.approx(
            _row(first)[f"psnr_{setting}"], abs=0.01
        )


def test_the_truth_is_no_input_and_cross_references_are(finished_run, test_pairs, score, tmp_path):
    """Other truths change no result; other cross references change only the cross results."""
    changed = test_pairs._replace(
        gt=255 - test_pairs.gt, reference_cross=test_pairs.reference_cross[::-1]
    )
    other = score("eval_other", eval__pairs=_save_pairs(tmp_path / "pairs.npz", changed))
    first = finished_run.workdir / "eval"
    np.testing.assert_array_equal(_pixels(first, "same"), _pixels(other, "same"))
    assert (_pixels(first, "cross") != _pixels(other, "cross")).any()
    assert _summary(other)["pairs"].endswith("pairs.npz")
    assert _row(first)["psnr_same"] != pytest.approx(_row(other)["psnr_same"], abs=0.1)


def test_fewer_pictures_fewer_files_and_the_best_checkpoint(finished_run, score):
    before = sorted(path.name for path in (finished_run.workdir / "eval" / "same").iterdir())
    folder = score("eval_few", eval__max_images=3, eval__save_images=2, eval__checkpoint="best")
    assert _summary(folder)["num_images"] == 3
    assert [path.name for path in sorted((folder / "same").iterdir())] == ["00000.png", "00001.png"]
    losses = {
        row["step"]: row["validation_loss"]
        for row in metric_log.read(finished_run.workdir / "metrics.jsonl")
        if "validation_loss" in row
    }
    saved = {int(path.name) for path in (finished_run.workdir / "checkpoints/pretrain").iterdir()}
    assert _summary(folder)["checkpoint_step"] == min(saved, key=losses.__getitem__)
    # The first results are still there.
    assert before == sorted(p.name for p in (finished_run.workdir / "eval" / "same").iterdir())
    first = _pixels(finished_run.workdir / "eval", "same")[:2]
    if _summary(folder)["checkpoint_step"] == tiny_run.STEPS:
        assert np.abs(first.astype(int) - _pixels(folder, "same")).max() <= 1


def test_all_metrics_and_several_seeds(finished_run, score):
    """The first seed's pictures are those of a single seed; a table in valid JSON says the rest."""
    # LPIPS with VGG16 would take longest, and perceptual_test has it.
    metrics = [name for name in scores.METRICS if name != "lpips_vgg"]
    folder = score("eval_all", eval__metrics=tuple(metrics), eval__num_seeds=2, eval__max_images=8)
    for setting in pairs.SETTINGS:
        first = _pixels(finished_run.workdir / "eval", setting)[:8]
        np.testing.assert_array_equal(_pixels(folder, setting), first)
    summary = _summary(folder)
    assert summary["seeds"] == [0, 1] and summary["settings"] == list(pairs.SETTINGS)
    assert summary["image_size"] == tiny_run.IMAGE_SIZE
    assert list(summary["metrics"]) == metrics
    assert summary["metrics"]["ms_ssim"]["label"] == "MS-SSIM (1 scale)"
    model, copy = _row(folder), _row(folder, "copy the reference")
    for setting in pairs.SETTINGS:
        for name in metrics:
            if name == "fid":
                assert model[f"fid_{setting}"] is None
                continue
            key = f"{name}_{setting}"
            assert model[key + "_seed_spread"] > 0 and copy[key + "_seed_spread"] == 0
            if name in ("frechet_vgg16", "kernel_vgg16"):
                low, high = model[key + "_interval"]
                assert low < model[key] < high
            else:
                assert model[key + "_standard_error"] > 0
        assert copy[f"palette_to_reference_{setting}"] == 0
    assert any("--config.eval.inception_weights=FILE" in note for note in summary["notes"])
    with (folder / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    of_model = [row for row in rows if (row["setting"], row["method"]) == ("same", "euler-2")]
    assert [row["seed"] for row in of_model] == ["0"] * 8 + ["1"] * 8
    of_seeds = np.array([float(row["psnr"]) for row in of_model]).reshape(2, -1).mean(axis=1)
    assert model["psnr_same"] == pytest.approx(of_seeds.mean(), abs=1e-4)
    assert model["psnr_same_seed_spread"] == pytest.approx(of_seeds.std(ddof=1), abs=1e-4)


def test_the_denoising_strip_ends_with_the_results(finished_run):
    folder = finished_run.workdir / "eval"
    strip = np.asarray(PIL.Image.open(folder / "denoising.png"))[pictures.TITLE_HEIGHT :]
    cells = strip[::8, ::8].reshape(6, 16, 3, 16, 3).swapaxes(1, 2)
    results = _pixels(folder, "same")[:3].astype(int)
    # Rows are states and what the network sees in them; the last of these is the result.
    assert np.abs(cells[1::2, -1] - results).max() <= 1
    assert np.abs(cells[0::2, 1] - results).mean() > 10


def test_bad_files_are_refused_before_anything_else(prepared_dir, tmp_path):
    config = tiny_run.make_config(prepared_dir, eval__inception_weights=str(tmp_path / "no.pth"))
    with pytest.raises(FileNotFoundError, match=r"Inception weights .*no.pth' are no file"):
        evaluate.check_files(config)
    (tmp_path / "no.pth").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"Inception weights .*no.pth' cannot be used"):
        evaluate.check_files(config)


def test_a_run_without_checkpoint_is_refused(prepared_dir, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoints.*--stages=calibrate,train"):
        evaluate.evaluate(tiny_run.make_config(prepared_dir), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_averaged_parameters_are_scored(finished_run, test_pairs):
    """The results can be made again by hand from the checkpoint's average."""
    config, workdir = finished_run
    state, _ = tiny_run.restore(config, workdir, tiny_run.STEPS)
    schedule = components.noise_schedule(config, workdir)
    denoise = jax.jit(components.denoise_with_params(config, schedule))
    number = 4
    noise_key = jax.random.fold_in(jax.random.key(config.seed), Stream.NOISE)
    noise = jax.random.normal(jax.random.fold_in(noise_key, number), (1, 16, 16, 3))
    condition = np.concatenate(
        [test_pairs.sketch[number][..., None], test_pairs.reference_same[number]], axis=-1
    )[None]
    condition = condition.astype(np.float32) / 127.5 - 1
    sigmas = solvers.sigma_grid(config, schedule)
    x = noise * np.float32(sigmas[0])
    for sigma, following in itertools.pairwise(sigmas):
        sigma, following = np.float32(sigma), np.float32(following)
        slope = (x - denoise(state.ema_params, x, jax.numpy.full((1,), sigma), condition)) / sigma
        x = x + (following - sigma) * slope
    expected = np.clip((np.asarray(x[0]) + 1) * 127.5, 0, 255)
    result = _pixels(workdir / "eval", "same")[number]
    assert np.abs(result - expected).max() <= 1


def test_a_network_of_another_size_is_refused(finished_run, prepared_dir, tmp_path):
    shutil.copytree(finished_run.workdir / "checkpoints", tmp_path / "checkpoints")
    config = tiny_run.make_config(prepared_dir, model__base_channels=16)
    with pytest.raises(ValueError, match="shape"):
        evaluate.evaluate(config, tmp_path)
