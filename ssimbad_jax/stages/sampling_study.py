"""A study of samplers: scores against network calls, for every sampler on every sigma grid.

    checkpoints + pairs -> study.{jsonl,csv,md,png}

One trained network colours the same pictures from the same noise in every combination. It is told
the noise level as in its training, whatever grid is walked. What is the same walk is walked once: a
part of 50 steps with all 50 is the grid itself, and DDIM that draws no noise is Euler.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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

    weights: weights.Weights
    combination: plan.Combination
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
            _fill(rows, bench, combinations, grids, all_weights)
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


def _fill(
    rows: rows_lib.Rows,
    bench: bench_lib.Bench,
    combinations: Sequence[plan.Combination],
    grids: Mapping[str, plan.Grid],
    all_weights: Sequence[weights.Weights],
) -> None:
    """Makes the rows that are missing; the first combination is the reference."""
    reference = combinations[0]
    cells = [
        _Cell(used, combination, setting)
        for combination in combinations
        for used in all_weights
        for setting in pairs.SETTINGS
    ]
    sigma_grids = {
        made: grids[made.grid].sigma_grid(made.sigma_max, made.steps) for made in combinations
    }
    first_alike = _first_alike(combinations, sigma_grids, bench)

    def is_done(cell: _Cell) -> bool:
        kept = cell.combination != reference or rows.pictures(cell.pictures) is not None
        return cell.key in rows and kept

    def network_calls(part: Sequence[_Cell]) -> int:
        walked = (cell.combination for cell in part if first_alike[cell.combination] is None)
        return bench.images * sum(combination.network_calls for combination in walked)

    @functools.lru_cache(maxsize=1)
    def compiled(sampler: str, steps: int) -> bench_lib.ColourAll:
        return bench.compile(sampler, steps, all_weights[0].params)

    missing = [cell for cell in cells if not is_done(cell)]
    total, left = network_calls(cells), network_calls(missing)
    with progress.Progress("study", total, total - left, unit="network call") as bar:
        for cell in missing:
            combination, setting = cell.combination, cell.setting
            own = {**cell.key, "grid_label": grids[combination.grid].label}
            alike = first_alike[combination]
            if alike is not None:
                rows.append({**rows[cell._replace(combination=alike).key], **own})
                continue
            colour_all = compiled(combination.sampler, combination.steps)
            sigmas = sigma_grids[combination]
            pixels, seconds = colour_all(cell.weights.params, sigmas, setting)
            if combination == reference:
                rows.keep_pictures(cell.pictures, pixels)
            distance = None
            if not bench.stochastic & {combination.sampler, reference.sampler}:
                distance = _rmse(pixels, rows.pictures(cell.pictures))
            rows.append(
                {
                    **own,
                    "network_calls": combination.network_calls,
                    "is_reference": combination == reference,
                    "checkpoint_step": cell.weights.step,
                    "pictures": bench.images,
                    **bench.score(pixels, setting),
                    "rmse_to_reference": distance,
                    "seconds_per_picture": seconds,
                }
            )
            done = bench.images * combination.network_calls
            bar.advance(done, f"{combination.sampler}, {combination.network_calls} calls")


def _first_alike(
    combinations: Sequence[plan.Combination],
    sigma_grids: Mapping[plan.Combination, np.ndarray],
    bench: bench_lib.Bench,
) -> dict[plan.Combination, plan.Combination | None]:
    """Returns, for each, the earlier one whose walk is the same and serves both, or None.

    The reference serves no other: its pictures may have to be made again.
    """
    first: dict[tuple[str, bytes], plan.Combination] = {}
    found: dict[plan.Combination, plan.Combination | None] = {combinations[0]: None}
    for combination in combinations[1:]:
        walk = (bench.walks_as(combination.sampler), sigma_grids[combination].tobytes())
        found[combination] = first.get(walk)
        first.setdefault(walk, combination)
    return found


def _rmse(pixels: np.ndarray, reference: np.ndarray | None) -> float | None:
    """Returns the root mean square difference in 8-bit levels."""
    if reference is None or reference.shape != pixels.shape:
        return None
    return float(np.sqrt(np.mean((pixels.astype(np.float32) - reference) ** 2)))
