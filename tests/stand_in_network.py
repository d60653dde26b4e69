"""A network that needs no time to compile, in the place of the real one."""

import jax
import jax.numpy as jnp

from ssimbad_jax.stages import components

PARAMS = jnp.asarray(0.7)


def network(
    params: jax.Array, noisy: jax.Array, sigma: jax.Array, condition: jax.Array
) -> jax.Array:
    """Returns a D of every input, and not linear in the condition."""
    share = (0.25 / (0.25 + sigma**2))[:, None, None, None]
    colours = params * jnp.tanh(condition[..., :1] + 2 * condition[..., 1:])
    return share * noisy + (1 - share) * colours


def use(monkeypatch) -> None:
    """Has denoisers made of `network`."""
    monkeypatch.setattr(components, "denoise_with_params", lambda *arguments: network)
