"""A study of samplers: scores against network calls, for every sampler on every sigma grid.

    checkpoints + pairs -> study.{jsonl,csv,md,png}

One trained network colours the same pictures from the same noise in every combination. It is told
the noise level as in its training, whatever grid is walked. What is the same walk is walked once: a
part of 50 steps with all 50 is the grid itself, and DDIM that draws no noise is Euler.
"""

import functools
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import evaluate, run, weights, workdir_lock
from ssimbad_jax.stages.studying import bench as bench_lib
from ssimbad_jax.stages.studying import figure, plan, table
from ssimbad_jax.stages.studying import rows as rows_lib
from ssimbad_jax.training import progress, sharding


class _Cell(NamedTuple):
    """What gets a row."""

    combination: plan.Combination
    weights: weights.Weights
    setting: str

    @property
    def key(self) -> rows_lib.Row:
        """What tells its row from others."""
        return {
            "weights": self.weights.kind,
            **self.combination._asdict(),
            "setting": self.setting,
        }

    @property
    def pictures(self) -> str:
        """The name its pictures are kept under, if they are."""
        return f"reference_{self.weights.kind}_{self.setting}"


def study(
    workdir: pathlib.Path,
    out: pathlib.Path,
    settings: plan.Settings,
    pairs_file: str = "",
) -> None:
    """Samples and scores what earlier calls left undone, and writes table and figure of all.

    Args:
        workdir: of a run that has a checkpoint; nothing in it is changed.
        out: folder of the results; made if it does not exist.
        settings: what to compare.
        pairs_file: .npz of evaluation pairs; by default those the run itself is scored on.

    Raises:
        FileNotFoundError: there is no such run, no checkpoint, no calibration or no file of pairs.
        ValueError: the settings cannot work, the pairs do not fit the model, or the rows in `out`
            belong to something else.
        LockedError: another call works in `out`.
        OSError: the results cannot be written.
    """
    mesh = sharding.data_mesh()
    config = run.load_config(workdir)
    plan.check(settings, config)
    config.eval.max_images = settings.images
    config.eval.pairs = pairs_file or config.eval.pairs
    combinations = plan.combinations(settings, config)
    grids = plan.open_grids(config, workdir, settings.grids)
    test_pairs = evaluate.open_pairs(config)
    at_once = min(settings.batch_size, len(test_pairs.gt))
    config.eval.batch_size = -(-at_once // mesh.size) * mesh.size
    samplers = dict.fromkeys(combination.sampler for combination in combinations)
    bench = bench_lib.Bench(config, workdir, test_pairs, mesh, samplers)
    all_weights = load_weights(config, workdir, mesh)
    fingerprint = bench.fingerprint() | {
        f"weights {used.kind}": bench_lib.digest_of_params(used.params) for used in all_weights
    }
    with workdir_lock.hold(out, "another --out"):
        rows = rows_lib.Rows(out, fingerprint)
        try:
            sampling = _Sampling(rows, bench, combinations, grids, all_weights[0].params)
            cells = itertools.product(combinations, all_weights, pairs.SETTINGS)
            _fill(sampling, list(itertools.starmap(_Cell, cells)))
        finally:
            # After a signal, too: what is there can be looked at.
            rows_lib.write_csv(out, rows.all)
            table.write(out, rows.all)
            figure.draw(out, rows.all)
    progress.say(table.answer(rows.all))
    progress.say(f"study: results are in {out}")


def load_weights(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, mesh: jax.sharding.Mesh
) -> list[weights.Weights]:
    """Returns the networks to compare: before refinement and after it, or the one that is there.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it does not fit the config.
    """
    config.eval.weights = "auto"
    kinds = dict.fromkeys(("pretrain", weights.kind(config, workdir)))
    found = [kind for kind in kinds if weights.newest_step(workdir, kind) is not None]
    return [weights.load(config, workdir, mesh, kind) for kind in found or kinds]


class _Sampling:
    """Makes rows of cells, each walk once."""

    def __init__(
        self,
        rows: rows_lib.Rows,
        bench: bench_lib.Bench,
        combinations: Sequence[plan.Combination],
        grids: Mapping[str, plan.Grid],
        params: Any,
    ) -> None:
        """Plans the walks; the first combination is the reference."""
        self._rows, self._bench, self._grids = rows, bench, grids
        self._reference = combinations[0]
        self._sigma_grids = {
            made: grids[made.grid].sigma_grid(made.sigma_max, made.steps) for made in combinations
        }
        self._first_alike = self._find_alike(combinations)
        # One compilation for all grids and weights: those of a shape follow each other.
        self._compiled = functools.lru_cache(maxsize=1)(
            lambda sampler, steps: bench.compile(sampler, steps, params)
        )

    def _find_alike(
        self, combinations: Sequence[plan.Combination]
    ) -> dict[plan.Combination, plan.Combination | None]:
        """Returns, for each, an earlier one whose walk is the same, or None.

        The reference serves no other: its pictures may have to be made again.
        """
        first: dict[tuple[str, bytes], plan.Combination] = {}
        found: dict[plan.Combination, plan.Combination | None] = {self._reference: None}
        for combination in combinations[1:]:
            sigmas = self._sigma_grids[combination]
            walk = self._bench.walks_as(combination.sampler), sigmas.tobytes()
            found[combination] = first.get(walk)
            first.setdefault(walk, combination)
        return found

    def is_done(self, cell: _Cell) -> bool:
        """Tells whether the row is there, and of the reference the pictures as well."""
        kept = cell.combination != self._reference or self._rows.pictures(cell.pictures) is not None
        return cell.key in self._rows and kept

    def network_calls(self, cell: _Cell) -> int:
        """Returns the network calls for all pictures, none for what was walked already."""
        if self._first_alike[cell.combination] is not None:
            return 0
        return self._bench.images * cell.combination.network_calls

    def make(self, cell: _Cell) -> None:
        """Samples and scores, or takes the scores of the same walk."""
        alike = self._first_alike[cell.combination]
        if alike is None:
            row = self._sampled(cell)
        else:
            row = self._rows[cell._replace(combination=alike).key]
        label = self._grids[cell.combination.grid].label
        self._rows.append({**row, **cell.key, "grid_label": label})

    def _sampled(self, cell: _Cell) -> rows_lib.Row:
        combination, bench = cell.combination, self._bench
        colour_all = self._compiled(combination.sampler, combination.steps)
        sigmas = self._sigma_grids[combination]
        pixels, seconds = colour_all(cell.weights.params, sigmas, cell.setting)
        if combination == self._reference:
            self._rows.keep_pictures(cell.pictures, pixels)
        distance = None
        if not bench.stochastic & {combination.sampler, self._reference.sampler}:
            distance = _rmse(pixels, self._rows.pictures(cell.pictures))
        return {
            **cell.key,
            "network_calls": combination.network_calls,
            "is_reference": combination == self._reference,
            "checkpoint_step": cell.weights.step,
            "pictures": bench.images,
            **bench.score(pixels, cell.setting),
            "rmse_to_reference": distance,
            "seconds_per_picture": seconds,
        }


def _fill(sampling: _Sampling, cells: Sequence[_Cell]) -> None:
    """Makes the rows that are missing."""
    missing = [cell for cell in cells if not sampling.is_done(cell)]
    total, left = (sum(map(sampling.network_calls, part)) for part in (cells, missing))
    with progress.Progress("study", total, total - left, unit="network call") as bar:
        for cell in missing:
            sampling.make(cell)
            if calls := sampling.network_calls(cell):
                combination = cell.combination
                bar.advance(calls, f"{combination.sampler}, {combination.network_calls} calls")


def _rmse(pixels: np.ndarray, reference: np.ndarray | None) -> float | None:
    """Returns the root mean square difference in 8-bit levels."""
    if reference is None or reference.shape != pixels.shape:
        return None
    return float(np.sqrt(np.mean((pixels.astype(np.float32) - reference) ** 2)))
