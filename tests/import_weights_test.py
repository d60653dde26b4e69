"""Imported weights give what the official code computed, and what cannot be imported is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.diffusion import schedule
from ssimbad_jax.stages import components, import_weights, run, solvers, validation, weights
from ssimbad_jax.training import sharding
from tests import golden_network, official_weights, torch_files

pytestmark = pytest.mark.usefixtures("quick_compilation")


def load(out, which=None):
    """Config, schedule and averaged parameters, as evaluate and colorize load them."""
    config = run.load_config(out)
    used = weights.load(config, out, sharding.data_mesh(jax.devices()[:1]), which)
    config = weights.deployed(config, out, used.kind)
    return config, components.noise_schedule(config, out), used


@pytest.fixture(scope="module")
def cases(golden):
    return {n: golden_network.load(golden, n) for n in ("denoiser", "denoiser_cbam")}


@pytest.fixture(scope="module")
def official(golden):
    """The defined weights, by the official names."""
    return official_weights.unet_weights(golden)


@pytest.fixture(scope="module")
def refined(golden, cases, tmp_path_factory):
    """Runs imported from refined checkpoints, by the golden network."""
    runs = {}
    for name, case in cases.items():
        folder = tmp_path_factory.mktemp(name)
        official_weights.write_refined(
            folder / "model.ckpt",
            official_weights.unet_weights(golden, name),
            levels=official_weights.noise_levels(len(case.arrays["sigma_grid"]) - 1),
            finetuning_inference_time_step=int(case.arrays["euler_steps"]),
        )
        import_weights.import_weights(folder / "model.ckpt", folder / "run")
        runs[name] = folder / "run"
    return runs


@pytest.mark.parametrize("name", ["denoiser", "denoiser_cbam"])
def test_an_imported_network_denoises_as_the_official_one(refined, cases, name):
    config, noise_schedule, used = load(refined[name])
    case, sigmas = cases[name], cases[name].arrays["sigmas"]
    denoise = jax.jit(components.denoise_with_params(config, noise_schedule))
    for sigma, expected in zip(sigmas, case.arrays["denoised"], strict=True):
        noisy = case.image + sigma * case.noise
        levels = jnp.full(len(noisy), sigma)
        found = denoise(used.params, noisy, levels, case.condition)
        golden_network.assert_close(found, expected, 1e-4)


@pytest.mark.parametrize("name", ["denoiser", "denoiser_cbam"])
def test_imported_refined_weights_sample_as_the_official_ones(refined, cases, name):
    config, noise_schedule, used = load(refined[name])
    case = cases[name]
    assert used.kind == "refine"
    np.testing.assert_allclose(
        noise_schedule.sigma_grid(config.eval.grid_steps), case.arrays["sigma_grid"], rtol=1e-5
    )
    sample = jax.jit(solvers.sample(config, noise_schedule))
    found = sample(used.params, case.noise, case.condition, jax.random.key(0))
    golden_network.assert_close(found, case.arrays["euler_final"], 1e-3)


def test_imported_anime_diffusion_predicts_and_samples_as_the_official_one(
    golden, official, tmp_path
):
    case = golden_network.load_anime_diffusion(golden)
    state = {f"denoise_fn.{name}": value for name, value in official.items()}
    torch_files.write_zip(tmp_path / "model.pth", {"gammas": case.arrays["gammas"], **state})
    overrides = {"data.image_size": 16, "eval.sampler_steps": 10}
    import_weights.import_weights(tmp_path / "model.pth", tmp_path / "run", overrides=overrides)
    config, noise_schedule, used = load(tmp_path / "run")
    assert used.kind == "pretrain"
    sigma = np.sqrt(1 / case.arrays["gammas"][case.arrays["q_t"]] - 1)
    noisy = case.image + sigma[:, None, None, None] * case.noise
    denoise = jax.jit(components.denoise_with_params(config, noise_schedule))
    denoised = denoise(used.params, noisy, jnp.asarray(sigma), case.condition)
    predicted = (noisy - denoised) / sigma[:, None, None, None]
    golden_network.assert_close(predicted, case.arrays["eps_pred"], 3e-4)
    sample = jax.jit(solvers.sample(config, noise_schedule))
    found = sample(used.params, case.noise, case.condition, jax.random.key(0))
    golden_network.assert_close(found, case.arrays["ddim10_eta0"], 1e-3)


@pytest.fixture
def pretrained(official, tmp_path):
    official_weights.write_pretrained(tmp_path / "model.ckpt", official)
    return tmp_path / "model.ckpt"


def test_weights_of_edm_become_a_run_of_edm(official, tmp_path):
    levels = schedule.edm().sigma_grid(18).astype(np.float32)
    state = official_weights.lightning_state(official, levels)
    content = torch_files.lightning(state, {"rho": 7.0, "size": 16})
    torch_files.write_checkpoint(tmp_path / "model.ckpt", content)
    config = import_weights.import_weights(tmp_path / "model.ckpt", tmp_path / "run")
    assert config.diffusion.schedule == "edm" and config.data.image_size == 16


def test_what_was_imported_is_kept(pretrained, tmp_path):
    import_weights.import_weights(pretrained, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "imported.json").read_text())
    assert (record["file"], record["step"], record["weights"]) == (
        "model.ckpt",
        148_500,
        "pretrain",
    )
    assert record["settings"]["gpus"] == [0, 1] and len(record["sha256"]) == 64


@pytest.mark.parametrize("exists", [False, True])
def test_a_new_or_empty_folder_becomes_the_run(pretrained, exists, tmp_path):
    out = tmp_path / "runs" / "imported"
    if exists:
        out.mkdir(parents=True)
    import_weights.import_weights(pretrained, out, kind="refine")
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoints",
        "config.json",
        "imported.json",
    ]
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["refine"]
    assert [path.name for path in out.parent.iterdir()] == ["imported"]


def test_runs_and_other_folders_are_not_overwritten(pretrained, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    for name, message in (("notes.txt", "is not empty already"), ("config.json", "holds a run")):
        (out / name).write_text("mine")
        with pytest.raises(ValueError, match=rf"--out=.*{message}.*; name a new folder"):
            import_weights.import_weights(pretrained, out)
        assert (out / name).read_text() == "mine"
    with pytest.raises(ValueError, match="name a new folder"):
        import_weights.import_weights(pretrained, pretrained)


def without(name):
    return lambda weights: {n: value for n, value in weights.items() if n != name}


def changed(name, shape):
    return lambda weights: weights | {name: np.zeros(shape, np.float32)}


REFUSALS = {
    "a missing entry": (without("output.2.bias"), {}, ValueError, "1 missing .output.2.bias"),
    "an unknown entry": (
        changed("decoder_block.9.x", (2,)),
        {},
        ValueError,
        r"1 unexpected .decoder_block\.9\.x",
    ),
    "another shape": (changed("output.2.bias", (4,)), {}, ValueError, "'output.2.bias' has shape"),
    "heads that do not divide": (dict, {"model.num_heads": 5}, validation.ConfigError, "num_heads"),
    "another c": (dict, {"calibrate.c": 0.5}, ValueError, "noise levels are not .*calibrate.c"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_does_not_fit_is_refused_and_leaves_nothing(official, name, tmp_path):
    change, overrides, error, message = REFUSALS[name]
    official_weights.write_pretrained(tmp_path / "model.ckpt", change(official))
    with pytest.raises(error, match=message):
        import_weights.import_weights(
            tmp_path / "model.ckpt", tmp_path / "run", overrides=overrides
        )
    assert [path.name for path in tmp_path.iterdir()] == ["model.ckpt"]


def test_a_method_that_the_file_contradicts_is_refused(pretrained, tmp_path):
    for method in ("edm", "anime_diffusion"):
        with pytest.raises(ValueError, match=r"model.ckpt cannot be imported: .*noise"):
            import_weights.import_weights(pretrained, tmp_path / "run", method=method)
