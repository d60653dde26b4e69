"""Walks whose gradient takes little memory: what trajectory refinement goes back through.

A plain `lax.scan` keeps the activations of every network call for the backward pass; 50 steps of
the paper's network at 256 px would take hundreds of gigabytes. Here each step keeps only the state
it starts from and is computed a second time on the way back (Chen et al. 2016, arXiv 1604.06174):
the memory of one step, and one state for each.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ssimbad_jax.diffusion import samplers


def rematerialised_walk(
    first_step: ArrayLike = 0, first_with_gradient: ArrayLike = 0
) -> samplers.Walk:
    """Returns the walk for samplers that are differentiated.

    Args:
        first_step: number of the first step taken; those before it are skipped, and cost nothing.
            Of a grid of `padded_grid` they have length zero.
        first_with_gradient: number of the first step that the gradient goes through (Clark et al.
            2023, DRaFT-K, arXiv 2309.17400); those before it are walked and not differentiated.

    Both may be traced, so that they can be drawn anew in each training step.
    """
    all_alike = all(isinstance(x, int) and x == 0 for x in (first_step, first_with_gradient))

    def walk(step: samplers.StepFn, carry: Any, steps: Any) -> Any:
        def advance(carry: Any, at: Any) -> Any:
            return step(carry, at)[0]

        with_gradient = jax.checkpoint(advance, prevent_cse=False)

        def without_gradient(carry: Any, at: Any) -> Any:
            return jax.lax.stop_gradient(advance(jax.lax.stop_gradient(carry), at))

        def skip(carry: Any, at: Any) -> Any:
            return carry

        def choose(carry: Any, at: Any) -> tuple[Any, None]:
            if all_alike:
                return with_gradient(carry, at), None
            is_taken = at.number >= first_step
            has_gradient = is_taken & (at.number >= first_with_gradient)
            branch = is_taken.astype(jnp.int32) + has_gradient.astype(jnp.int32)
            branches = (skip, without_gradient, with_gradient)
            return jax.lax.switch(branch, branches, carry, at), None

        return jax.lax.scan(choose, carry, steps)[0]

    return walk


def padded_grid(grid: np.ndarray, steps: int) -> np.ndarray:
    """Returns a grid of `steps` steps that begins with steps of length zero.

    Walks of different lengths become one compiled program this way: with `first_step` of
    `rematerialised_walk` the added steps are skipped.

    Args:
        grid: `[K + 1]`, descending.
        steps: at least K.
    """
    return np.concatenate([np.full(steps + 1 - len(grid), grid[0]), grid])
