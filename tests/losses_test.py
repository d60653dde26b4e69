"""The training loss and its gradients against the official code."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from ssimbad_jax.diffusion import denoiser, losses
from ssimbad_jax.models import official_unet
from tests import golden_network

pytestmark = pytest.mark.core


@pytest.mark.parametrize("name", ["denoiser", "denoiser_cbam"])
def test_loss_and_gradients_equal_official(golden, name):
    case = golden_network.load(golden, name)

    @jax.jit
    @jax.value_and_grad
    def loss_and_gradient(params):
        return losses.denoising_loss(
            lambda noisy, sigma: case.denoise(params, noisy, sigma),
            case.image,
            jnp.asarray(case.arrays["train_sigma"]),
            case.noise,
        ).mean()

    loss, gradient = loss_and_gradient(case.params)
    np.testing.assert_allclose(loss, case.arrays["train_loss"], rtol=1e-4)
    np.testing.assert_allclose(optax.tree.norm(gradient), case.arrays["train_grad_norm"], rtol=1e-3)
    by_name = official_unet.official_name_of_path(case.unet)
    norms = {
        by_name[path]: np.linalg.norm(leaf)
        for path, leaf in traverse_util.flatten_dict(gradient).items()
    }
    expected = case.arrays["grad_norms"]
    actual = [norms[n] for n in case.description["grad_norm_names"]]
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-6 * expected.max())


def test_edm_weighting_gives_unit_loss_to_a_network_of_zeros():
    """With F = 0 and data of variance sigma_data^2 the weighted loss is 1 at every sigma."""
    sigma_data = 0.5
    precondition = denoiser.karras(sigma_data)
    keys = jax.random.split(jax.random.key(0))
    image = sigma_data * jax.random.normal(keys[0], (6, 64, 64, 3))
    noise = jax.random.normal(keys[1], image.shape)
    sigma = jnp.geomspace(0.01, 50.0, 6)
    loss = losses.denoising_loss(
        lambda x, s: precondition(s).c_skip[:, None, None, None] * x,
        image,
        sigma,
        noise,
    )
    np.testing.assert_allclose(loss * losses.output_weighting(precondition)(sigma), 1.0, rtol=0.05)


def test_uniform_weighting_is_one():
    np.testing.assert_array_equal(losses.uniform_weighting(jnp.array([0.1, 80.0])), [1.0, 1.0])


def test_bounded_error_is_the_clipped_one_inside_and_pulls_back_outside():
    a = jnp.array([-0.5, 0.2, 0.9, 1.5, 1.5]).reshape(1, 1, 5, 1)
    b = jnp.array([0.5, 0.4, 0.1, 0.8, 1.0]).reshape(1, 1, 5, 1)
    value, gradient = jax.value_and_grad(lambda a: 5 * losses.bounded_squared_error(a, b)[0])(a)
    # By hand: (c - b)^2 + 2 (a - c)(c - b), and 2 (c - b).
    np.testing.assert_allclose(value, 0.25 + 0.5 + 0.04 + 0.64 + 0.04 + 0.2 + 0.0, rtol=1e-6)
    np.testing.assert_allclose(gradient.ravel(), [-1.0, -0.4, 1.6, 0.4, 0.0], atol=1e-6)
    of_clipped = jax.grad(lambda a: 5 * losses.clipped_squared_error(a, b)[0])(a).ravel()
    np.testing.assert_allclose(of_clipped, [0.0, -0.4, 1.6, 0.0, 0.0], atol=1e-6)
