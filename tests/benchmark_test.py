import importlib.util
import pathlib
import subprocess
import sys

import jax
import numpy as np
import PIL.Image
import pytest
from absl.testing import flagsaver

from scripts import benchmark
from ssimbad_jax.training import sharding
from tests import tiny_run

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path):
    """Three small pictures and a file that is none."""
    y, x = np.mgrid[0:40, 0:40]
    for k in range(3):
        shade = np.stack([6 * x, 6 * y, 20 * k + 3 * (x + y)], axis=-1).clip(0, 255)
        PIL.Image.fromarray(shade.astype(np.uint8)).save(tmp_path / f"{k}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_pictures_are_loaded_by_name_and_resized(folder):
    images = benchmark.load_pictures(folder, 2, 16)
    assert images.shape == (2, 16, 16, 3) and images.dtype == np.uint8
    assert images[0].mean() < images[1].mean()


def test_too_few_pictures_are_refused(folder):
    with pytest.raises(ValueError, match=r"holds 3 pictures .* asks for 4"):
        benchmark.load_pictures(folder, 4, 16)


def test_the_three_ways_to_r2_agree(folder):
    images = benchmark.load_pictures(folder, 1, 32)
    mesh = sharding.data_mesh(jax.devices()[:1])
    reference = benchmark.scikit_image_calibration(images, seed=0)
    fresh = benchmark.fresh_noise_calibration(images, 4, 0)
    shared_noise = benchmark.this_calibration(images, 64, 4, 0, mesh)
    assert reference.shape == (22,) and fresh.shape == shared_noise.shape == (4, 22)
    # One small picture: a noise draw is worth a few hundredths.
    np.testing.assert_allclose(fresh.mean(axis=0), reference, atol=0.04)
    np.testing.assert_allclose(shared_noise.mean(axis=0), fresh.mean(axis=0), atol=0.02)


def test_unknown_benchmarks_are_refused():
    command = [sys.executable, "-m", "scripts.benchmark", "speed"]
    result = subprocess.run(command, cwd=_REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "name one benchmark: calibration" in result.stderr + result.stdout


def test_missing_pictures_are_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark.sharding, "use_every_core_as_a_device", lambda _: None)
    refusal = r"^error: --pictures=\S+ holds 0 pictures"
    with flagsaver.flagsaver(pictures=str(tmp_path)), pytest.raises(SystemExit, match=refusal):
        benchmark.main(["benchmark", "calibration"])


def test_missing_scikit_image_is_told_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark.sharding, "use_every_core_as_a_device", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    refusal = (
        r"^error: .* scikit-image, .*`make test` once, or pip install -r requirements-dev\.txt"
    )
    with flagsaver.flagsaver(pictures=str(tmp_path)), pytest.raises(SystemExit, match=refusal):
        benchmark.main(["benchmark", "calibration"])


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilation")
def test_memory_of_refinement_is_told_for_few_and_many_steps(tmp_path, monkeypatch, capsys):
    tiny = tiny_run.make_config(tmp_path)
    monkeypatch.setattr(benchmark.edm_ssimbad, "get_config", lambda: tiny)
    with flagsaver.flagsaver(dtype="bfloat16"):
        benchmark.refinement_memory(None)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == [
        "batch 8, 5 steps, bfloat16",
        "batch 8, 50 steps, bfloat16",
        "batch 2, 50 steps, bfloat16",
    ]
    batches = [int(line.rsplit("batch ", 1)[1]) for line in lines[-3:]]
    assert 0 < batches[0] < batches[1] < batches[2]
