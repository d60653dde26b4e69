"""Colouring all pictures: what noise they start from, and that none is lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.data import pairs
from ssimbad_jax.diffusion import samplers
from ssimbad_jax.stages import colouring
from ssimbad_jax.streams import Stream
from ssimbad_jax.training import sharding
from tests import tiny_run

pytestmark = pytest.mark.usefixtures("quick_compilation")

SIZE, COUNT = 8, 11


@pytest.fixture(scope="module")
def test_pairs():
    drawn = np.random.default_rng(0).integers(0, 256, (3, COUNT, SIZE, SIZE, 3), np.uint8)
    return pairs.Pairs(drawn[0], drawn[0][..., 0], drawn[1], drawn[2])


def coloured(colour, test_pairs, prepared_dir, key=0, batch_size=8, setting="same"):
    """Pictures made by a method (params, noise, condition, key) without a network."""
    config = tiny_run.make_config(prepared_dir, eval__batch_size=batch_size)
    mesh = sharding.data_mesh()
    method = colouring.Method("test", 0, colour)
    compiled = colouring.compile_method(method, jnp.zeros(()), test_pairs, config, mesh)
    shown = colouring.inputs(test_pairs, setting)
    counts = []
    pixels, seconds = colouring.colour_all(
        compiled, jax.random.key(key), shown, batch_size, mesh, counts.append
    )
    assert sum(counts) == COUNT and seconds > 0
    return pixels


def test_methods_see_the_condition_of_each_picture(test_pairs, prepared_dir):
    for setting in pairs.SETTINGS:
        pixels = coloured(lambda p, n, c, k: c[..., 1:], test_pairs, prepared_dir, setting=setting)
        np.testing.assert_array_equal(pixels, test_pairs.reference(setting))
    pixels = coloured(lambda p, n, c, k: c[..., [0, 0, 0]], test_pairs, prepared_dir)
    np.testing.assert_array_equal(pixels[..., 0], test_pairs.sketch)


def test_noise_belongs_to_picture_and_seed(test_pairs, prepared_dir):
    def noise_of(**options):
        return coloured(lambda p, n, c, k: n / 4, test_pairs, prepared_dir, **options)

    first = noise_of()
    np.testing.assert_array_equal(first, noise_of(batch_size=16))
    np.testing.assert_array_equal(first, noise_of(setting="cross"))
    assert np.abs(first.astype(int) - noise_of(key=1)).mean() > 20
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), Stream.NOISE), 9)
    expected = 127.5 * (1 + jax.random.normal(key, (SIZE, SIZE, 3)) / 4)
    assert np.abs(first[9] - np.clip(expected, 0, 255)).max() <= 1


def test_what_a_sampler_draws_belongs_to_picture_and_seed_too(test_pairs, prepared_dir):
    def drawn(**options):
        def colour(params, noise, condition, keys):
            return samplers.draw_noise(keys, 0, noise) / 4

        return coloured(colour, test_pairs, prepared_dir, **options)

    first = drawn()
    np.testing.assert_array_equal(first, drawn(batch_size=16))
    assert np.abs(first.astype(int) - drawn(key=1)).mean() > 20
    assert np.abs(first[0].astype(int) - first[1]).mean() > 20


def test_methods_are_named_and_counted(prepared_dir, tmp_path):
    config = tiny_run.make_config(prepared_dir)
    first, second = colouring.methods(config, tmp_path)
    assert (first.name, first.network_calls) == ("euler-2", 2)
    assert (second.name, second.network_calls) == ("posterior mean", 1)
    config.eval.start_sigma, config.eval.posterior_draws = 2.0, 4
    first, second = colouring.methods(config, tmp_path)
    assert (first.name, first.network_calls) == ("euler-2 from sigma 2", 6)
    assert (second.name, second.network_calls) == ("posterior mean of 4", 4)


def test_the_trajectory_is_that_of_the_scored_pictures(finished_run):
    """Beside evaluate_test's look at the strip: shapes, sigmas, and one entry for each picture."""
    config, workdir = finished_run
    drawn = np.zeros((3, tiny_run.IMAGE_SIZE, tiny_run.IMAGE_SIZE, 3), np.uint8)
    few = pairs.Pairs(drawn, drawn[..., 0], drawn, drawn)
    mesh = sharding.data_mesh()
    state, _ = tiny_run.restore(config, workdir, tiny_run.STEPS)
    params = jax.device_put(state.ema_params, sharding.replicated(mesh))
    passed = colouring.trajectory(config, workdir, params, colouring.inputs(few, "same"), mesh)
    assert passed.state.shape == passed.denoised.shape == (2, 3, 16, 16, 3)
    assert passed.sigma[0] == pytest.approx(config.diffusion.sigma_max)
    # Equal conditions, different noise.
    assert np.abs(passed.state[0, 0] - passed.state[0, 1]).mean() > 1
