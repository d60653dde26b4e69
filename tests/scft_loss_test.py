"""SCFT as a config: what its loss sums up, who learns from it, and a whole run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssimbad_jax.configs import scft as scft_config
from ssimbad_jax.models import perceptual
from ssimbad_jax.stages import components, refine, run, scft_loss, train, validation
from ssimbad_jax.training import metric_log
from tests import tiny_run

pytestmark = pytest.mark.usefixtures("quick_compilation")

# What SCFT is, is not to be overwritten by the tiny sizes.
OWN = ("model.num_heads", "eval.sampler", "eval.sampler_steps", "refine.sampler_steps")


@pytest.fixture
def config(prepared_dir):
    config = scft_config.get_config()
    sizes = {name: value for name, value in tiny_run.FIELDS.items() if name not in OWN}
    sizes |= {"data.prepared_dir": str(prepared_dir), "refine.grid_steps": 0}
    config.update_from_flattened_dict(sizes)
    return config


@pytest.fixture
def examples():
    rng = np.random.default_rng(0)
    image, noise = rng.uniform(-1, 1, (2, 3, 16, 16, 3)).astype(np.float32)
    condition = rng.uniform(-1, 1, (3, 16, 16, 4)).astype(np.float32)
    position = np.stack(np.meshgrid(np.arange(16.0), np.arange(16.0)), axis=-1)
    shifts = np.reshape([1.5, 0.0, 0.0, 3.0, -2.0, 1.0], (3, 1, 1, 2))
    warp_map = np.float32(position + shifts)
    return train.Examples(image, condition, np.full(3, 80.0, np.float32), noise, warp_map)


def init_params(config):
    return jax.jit(lambda key: components.init_params(config, key))(jax.random.key(0))


def test_the_loss_is_the_weighted_sum_of_its_terms_and_each_network_learns_from_its_own(
    config, examples, monkeypatch
):
    # In place of VGG16, which takes long to compile; the whole run has it.
    monkeypatch.setattr(
        perceptual, "vgg16_blocks", lambda x, count: [jnp.concatenate([x, x**2], axis=-1)] * count
    )
    noise_schedule = components.noise_schedule(config, None)

    def loss_of(*terms):
        part = config.copy_and_resolve_references()
        part.train.scft.update({term: 0.0 for term in scft_loss.TERMS if term not in terms})
        return train.LOSSES[config.train.loss](part, noise_schedule)

    others = tuple(term for term in scft_loss.TERMS if term != "adversarial")

    @jax.jit
    def losses_and_gradients(params):
        gradients = [
            jax.grad(lambda params, terms=terms: loss_of(*terms)(params, examples).mean())(params)
            for terms in (scft_loss.TERMS, ("adversarial",), others)
        ]
        alone = [loss_of(term)(params, examples) for term in scft_loss.TERMS]
        return loss_of(*scft_loss.TERMS)(params, examples), alone, gradients

    loss, alone, (gradient, of_game, of_others) = losses_and_gradients(init_params(config))
    assert loss.shape == (3,) and all(part.min() > 0 for part in alone)
    np.testing.assert_allclose(loss, sum(alone), rtol=1e-4)
    assert optax.tree.norm(of_game["generator"]) > 0
    assert optax.tree.norm(of_game["discriminator"]) > 0
    assert optax.tree.norm(of_others["discriminator"]) == 0
    jax.tree.map(
        lambda a, b, c: np.testing.assert_allclose(a, b + c, atol=1e-3 * np.abs(a).max() + 1e-6),
        gradient,
        of_game,
        of_others,
    )


@pytest.mark.slow
def test_it_trains_and_is_scored_by_the_code_of_all_methods(config, tmp_path):
    validation.check(config, 8)
    run.run(config, tmp_path, ["train", "evaluate"])
    summary = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    calls = {row["method"]: row["network_calls"] for row in summary["rows"]}
    assert calls["euler-1"] == 1 and "posterior mean" not in calls
    logged = metric_log.read(tmp_path / "metrics.jsonl")
    losses = [row["validation_loss"] for row in logged if "validation_loss" in row]
    assert losses[-1] < losses[0]
    assert (tmp_path / "samples" / f"{tiny_run.STEPS:08d}.png").is_file()


def test_its_answer_can_be_refined(config, examples):
    """One call is a walk of one step; the discriminator has no part in it."""
    drawn = refine.Examples(
        *examples[:4],
        length=jnp.ones(3, jnp.int32),
        gradient_steps=jnp.ones(3, jnp.int32),
        key=jax.random.split(jax.random.key(2), 3),
    )
    loss_fn = refine.refinement_loss(config, components.noise_schedule(config, None))
    gradient = jax.jit(jax.grad(lambda params: loss_fn(params, drawn).mean()))(init_params(config))
    assert np.isfinite(optax.tree.norm(gradient)) and optax.tree.norm(gradient["generator"]) > 0
    assert optax.tree.norm(gradient["discriminator"]) == 0


def test_the_shipped_config_passes_and_states_the_papers_weights():
    config = scft_config.get_config()
    validation.check(config, 1)
    assert config.train.scft.to_dict() == {
        "reconstruction": 30.0,
        "adversarial": 1.0,
        "perceptual": 0.01,
        "style": 50.0,
        "triplet": 1.0,
        "margin": 12.0,
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model.name": "unet"}, r"train\.loss is 'scft', which trains no 'unet'; set model\.name"),
        ({"model.num_heads": 4}, r"model\.num_heads is 4, but model\.name 'scft' needs 1"),
        ({"model.cbam": True}, r"model\.cbam is True, but model\.name 'scft' needs False"),
        ({"train.drop_reference": 0.1}, r"train\.drop_reference is 0\.1, but .* needs 0\.0"),
        (
            {"diffusion.preconditioning": "edm"},
            r"diffusion\.preconditioning is 'edm', but model\.name 'scft' needs 'image'",
        ),
        (
            {"diffusion.schedule": "edm"},
            r"diffusion\.schedule is 'edm', but model\.name 'scft' needs 'single'",
        ),
        (
            {f"train.scft.{term}": 0.0 for term in scft_loss.TERMS},
            r"train\.scft\.reconstruction and .* are all 0; set one of them",
        ),
        ({"train.scft.style": -1.0}, r"train\.scft\.style is -1\.0; set it to 0 or more"),
        ({"train.scft.margin": 0.0}, r"train\.scft\.margin is 0\.0; set it to a positive number"),
    ],
)
def test_configs_that_do_not_fit_are_refused(config, fields, message):
    config.update_from_flattened_dict(fields)
    with pytest.raises(validation.ConfigError, match=message):
        validation.check(config, 8)
