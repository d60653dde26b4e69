"""A distribution of images whose denoiser and probability-flow solution are known exactly.

The channels of all pixels are independent draws from one mixture of Gaussians.
"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize.elementwise
import scipy.stats

WEIGHTS = (0.3, 0.7)
MEANS = (-0.6, 0.4)
DEVIATIONS = (0.1, 0.25)

MEAN = float(np.dot(WEIGHTS, MEANS))
DEVIATION = float(np.sqrt(np.dot(WEIGHTS, np.square(MEANS) + np.square(DEVIATIONS)) - MEAN**2))


def denoise(x, sigma, spread=1.0):
    """D(x; sigma) of `[B, ...]` and `[B]`: the posterior mean; `spread` multiplies the means."""
    sigma = sigma.reshape(-1, *[1] * (x.ndim - 1))
    log_joint, posterior_means = [], []
    for weight, mean, deviation in zip(WEIGHTS, MEANS, DEVIATIONS, strict=True):
        variance = deviation**2 + sigma**2
        distance = x - spread * mean
        log_joint.append(np.log(weight) - 0.5 * (jnp.log(variance) + distance**2 / variance))
        posterior_means.append(spread * mean + deviation**2 / variance * distance)
    share = jax.nn.softmax(jnp.stack(log_joint), axis=0)
    return (share * jnp.stack(posterior_means)).sum(0)


def transport(x, sigma, sigma_next):
    """The exact solution at `sigma_next` of the probability-flow ODE through x at `sigma`, float64.

    In one dimension the flow keeps the order, and hence every quantile.
    """
    quantile = _cdf(np.asarray(x, np.float64), sigma)
    width = 10 * (1 + sigma_next)
    found = scipy.optimize.elementwise.find_root(
        lambda y, quantile: _cdf(y, sigma_next) - quantile,
        (np.full_like(quantile, -width), np.full_like(quantile, width)),
        args=(quantile,),
    )
    assert found.success.all()
    return found.x


def sample(key, shape):
    """Draws images."""
    which_key, normal_key = jax.random.split(key)
    which = jax.random.categorical(which_key, jnp.log(jnp.asarray(WEIGHTS)), shape=shape)
    normal = jax.random.normal(normal_key, shape)
    return jnp.asarray(MEANS)[which] + jnp.asarray(DEVIATIONS)[which] * normal


def _cdf(x, sigma):
    return sum(
        weight * scipy.stats.norm.cdf(x, mean, np.hypot(deviation, sigma))
        for weight, mean, deviation in zip(WEIGHTS, MEANS, DEVIATIONS, strict=True)
    )
