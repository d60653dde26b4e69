"""Colours and scores a set of pictures with any sampler, always from the same noise."""

import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import (
    calibrate,
    colorize_files,
    colouring,
    components,
    run_record,
    score_files,
    scores,
    solvers,
    validation,
)
from ssimbad_jax.stages.studying import rows
from ssimbad_jax.training import sharding

# (params, sigma grid, setting) -> pictures, uint8 [N, H, W, 3], and the seconds for one.
ColourAll = Callable[[Any, np.ndarray, str], tuple[np.ndarray, float]]


class Bench:
    """A run's network without its parameters, the pictures, and their scores."""

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        workdir: pathlib.Path,
        test_pairs: pairs.Pairs,
        mesh: jax.sharding.Mesh,
        samplers: Iterable[str],
    ) -> None:
        """Prepares the scores.

        Args:
            config: of the run; `eval.batch_size` is a multiple of the number of devices.
            workdir: of the run.
            test_pairs: the pictures.
            mesh: the devices.
            samplers: out of `solvers.SOLVERS`, with the options of `config.eval`.

        Raises:
            ConfigError: the run is older than an option of a sampler.
        """
        self.images = len(test_pairs.gt)
        self._config, self._workdir = config, workdir
        self._pairs, self._mesh = test_pairs, mesh
        self._options = {name: _options(config, name) for name in samplers}
        self.stochastic = {name for name in self._options if self._depends_on_key(name)}
        self._denoise = components.denoise_with_params(
            config, components.noise_schedule(config, workdir)
        )
        self._scorer = scores.Scorer(
            rows.METRICS,
            test_pairs.gt,
            mesh=mesh,
            batch_size=config.eval.batch_size,
            seed=config.seed,
        )

    def fingerprint(self) -> dict[str, Any]:
        """Returns what the numbers follow from, apart from the parameters."""
        fields = components.as_json(self._config)
        calibration = self._workdir / calibrate.RESULT
        digest = hashlib.sha256()
        for array in self._pairs:
            digest.update(array.tobytes())
        return {
            "model": fields["model"],
            "diffusion": fields["diffusion"],
            "scale": [fields["calibrate"]["scale"], fields["calibrate"]["c"]],
            "calibration": colorize_files.digest(calibration) if calibration.exists() else None,
            "seed": self._config.seed,
            "pictures": self.images,
            "pairs": digest.hexdigest(),
            "devices": run_record.devices(),
        } | {f"options of {name}": repr(options) for name, options in self._options.items()}

    def compile(self, sampler: str, steps: int, params: Any) -> ColourAll:
        """Compiles a sampler for all grids of so many steps and all parameters of these shapes."""
        walk, options = solvers.SOLVERS[sampler].sampler, self._options[sampler]

        def colour(
            given: tuple[Any, jax.Array], noise: jax.Array, condition: jax.Array, key: jax.Array
        ) -> jax.Array:
            params, grid = given
            return walk(
                lambda noisy, sigma: self._denoise(params, noisy, sigma, condition),
                noise,
                grid,
                key=key,
                **options,
            )

        method = colouring.Method(sampler, solvers.SOLVERS[sampler].network_calls(steps), colour)
        example = (params, np.zeros(steps + 1, np.float32))
        compiled = colouring.compile_for_any(method, example, self._pairs, self._config, self._mesh)

        def colour_all(params: Any, grid: np.ndarray, setting: str) -> tuple[np.ndarray, float]:
            on_devices = jax.device_put(np.float32(grid), sharding.replicated(self._mesh))
            return colouring.colour_all(
                functools.partial(compiled, (params, on_devices)),
                jax.random.key(self._config.seed),
                colouring.inputs(self._pairs, setting),
                self._config.eval.batch_size,
                self._mesh,
                lambda count: None,
            )

        return colour_all

    def score(self, pixels: np.ndarray, setting: str) -> rows.Row:
        """Returns mean and standard error of each metric, of pictures uint8 `[N, H, W, 3]`."""
        scored = self._scorer.score([pixels], self._pairs.reference(setting))
        cells: rows.Row = {}
        for metric in rows.METRICS:
            cells |= score_files.cells(metric, scored, metric, num_seeds=1)
        return cells

    def walks_as(self, sampler: str) -> str:
        """Returns the first name under which these steps are taken, with the options of the run.

        DDIM without noise takes Euler's steps (Song et al. 2021, arXiv 2010.02502, section 4.3).
        """
        is_plain = self._options.get("ddim") == {"eta": 0, "clip_denoised": False}
        is_euler = is_plain and "euler" in self._options and "euler" not in self.stochastic
        return "euler" if sampler == "ddim" and is_euler else sampler

    def _depends_on_key(self, sampler: str) -> bool:
        """Tells whether a sampler draws noise on its way."""
        walk = functools.partial(
            solvers.SOLVERS[sampler].sampler,
            lambda noisy, sigma: 0.5 * noisy,
            jnp.ones((1, 1, 1, 1)),
            np.array([4.0, 2.0, 1.0, 0.5, 0.0], np.float32),
            **self._options[sampler],
        )
        return bool((walk(key=jax.random.key(0)) != walk(key=jax.random.key(1))).any())


def digest_of_params(params: Any) -> str:
    """Returns what tells the parameters of one network from those of another."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def _options(config: ml_collections.ConfigDict, sampler: str) -> Mapping[str, Any]:
    try:
        return solvers.SOLVERS[sampler].options(config.eval)
    except (AttributeError, KeyError) as error:
        raise validation.ConfigError(
            f"the config.json of the run is older than a field that {sampler} needs "
            f"({str(error).splitlines()[0]}); add it there, or leave {sampler} out of --samplers"
        ) from error
