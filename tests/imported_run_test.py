"""An imported run goes through the other stages like one that was trained here."""

import json
import shutil

import jax
import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.data import sketch_pairs
from ssimbad_jax.stages import (
    colorize,
    colorize_jobs,
    continuation,
    export_weights,
    import_weights,
    refine,
    run,
    weights,
)
from ssimbad_jax.training import checkpoint, sharding
from tests import tiny_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]


@pytest.fixture(scope="module")
def original(finished_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    export_weights.export_weights(finished_run.workdir, folder / "model.safetensors")
    import_weights.import_weights(folder / "model.safetensors", folder / "run")
    return folder / "run"


@pytest.fixture
def imported(original, tmp_path):
    return shutil.copytree(original, tmp_path / "run")


def load(config, workdir):
    return weights.load(config, workdir, sharding.data_mesh(jax.devices()[:1])).params


def test_it_scores_and_colours_as_the_run_it_comes_from(finished_run, imported, tmp_path):
    config = finished_run.config
    run.run(config, imported, ["evaluate", "report"])
    scores = [
        json.loads((workdir / "eval" / "metrics.json").read_text())["rows"]
        for workdir in (imported, finished_run.workdir)
    ]
    for ours, theirs in zip(*scores, strict=True):
        assert {n: v for n, v in ours.items() if n != "seconds_per_image"} == {
            n: v for n, v in theirs.items() if n != "seconds_per_image"
        }
    assert (imported / "report.html").stat().st_size > 1000
    for name in ("sketch", "reference"):
        pixels = np.full((40, 40, 3), 255, np.uint8)
        pixels[10:30, 18:20] = 0
        PIL.Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    out = tmp_path / "coloured"
    paths = [str(tmp_path / f"{name}.png") for name in ("sketch", "reference")]
    items, _ = sketch_pairs.find(paths[:1], paths[1:], out)
    report = colorize.colorize(imported, items, out, colorize_jobs.Settings())
    assert [item["status"] for item in report["items"]] == ["done"]


def test_a_training_starts_from_it(finished_run, imported):
    """The checkpoint is one of step 0, with an optimiser that has seen nothing."""
    state, samples = tiny_run.restore(finished_run.config, imported, 0)
    assert (int(state.step), samples) == (0, 0)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(state.opt_state))
    params = load(finished_run.config, imported)
    for kept in (state.params, state.ema_params):
        jax.tree.map(np.testing.assert_array_equal, kept, params)


def test_it_has_no_best_checkpoint(finished_run, imported):
    mesh = sharding.data_mesh(jax.devices()[:1])
    with pytest.raises(FileNotFoundError, match=r'validation loss.*"newest", of step 0, .*eval'):
        weights.load(finished_run.config, imported, mesh, chosen="best")


def test_another_network_does_not_train_on(imported, prepared_dir):
    config = tiny_run.make_config(prepared_dir, train__steps=2, model__num_heads=4)
    with pytest.raises(ValueError, match=r"belongs to another network: model.num_heads was 2"):
        run.run(config, imported, ["train"])


def test_a_training_with_other_settings_may_start_from_it(imported, prepared_dir):
    config = tiny_run.make_config(prepared_dir, train__learning_rate=1e-4, seed=5)
    path = imported / weights.FOLDERS["pretrain"]
    checkpoints = checkpoint.Checkpoints(path, read_only=True)
    saved = checkpoints.run_config(0)
    checkpoints.close()
    continuation.check(saved, continuation.record(config, "other pictures"), path)


def test_a_refinement_starts_from_it(finished_run, imported):
    mesh = sharding.data_mesh(jax.devices()[:1])
    pretrained = refine.starting_point(finished_run.config, imported, mesh)
    assert (pretrained.kind, pretrained.step) == ("pretrain", 0)
