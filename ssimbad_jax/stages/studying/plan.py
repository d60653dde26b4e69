"""What a study of samplers compares: samplers, sigma grids and numbers of network calls."""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import ml_collections
import numpy as np

from ssimbad_jax.diffusion import schedule, sigma_scale
from ssimbad_jax.stages import calibrate, solvers

SUB_GRID = "sub_grid"
SUB_GRID_STEPS = 50  # of the official code's long grid

# What all others are measured against: the paper's sampler, on the run's own grid.
REFERENCE_SAMPLER, REFERENCE_STEPS = "heun", 50

# By default the run's own sigma_max and this share of it.
SMALLER_SIGMA_MAX = 1 / 16


class Grid(NamedTuple):
    """A way to choose the noise levels to walk.

    Attributes:
        label: what tables and figures call it.
        sigma_grid: (sigma_max, steps) -> float64 `[steps + 1]`, descending to 0.
    """

    label: str
    sigma_grid: Callable[[float, int], np.ndarray]


class Combination(NamedTuple):
    """A sampler on a grid.

    Attributes:
        sampler: out of `solvers.SOLVERS`.
        grid: out of `GRIDS`.
        sigma_max: where the walk starts.
        steps: of the sampler.
    """

    sampler: str
    grid: str
    sigma_max: float
    steps: int

    @property
    def network_calls(self) -> int:
        """The network calls for each picture."""
        return solvers.SOLVERS[self.sampler].network_calls(self.steps)


def _along(
    config: ml_collections.ConfigDict, scale: sigma_scale.SigmaScale
) -> Callable[[float, int], np.ndarray]:
    sigma_min = config.diffusion.sigma_min
    return lambda sigma_max, steps: schedule.ssimbad(scale, sigma_min, sigma_max).sigma_grid(steps)


def _rational(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Grid:
    scale = sigma_scale.rational(config.calibrate.c)
    return Grid(f"c = {config.calibrate.c:.4g}", _along(config, scale))


def _best(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Grid:
    scale = calibrate.scale_from_json(workdir / calibrate.RESULT, "best")
    return Grid(f"best {scale.name}", _along(config, scale))


def _table(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Grid:
    scale = calibrate.scale_from_json(workdir / calibrate.RESULT, "table")
    return Grid("table", _along(config, scale))


def _edm(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Grid:
    sigma_min = config.diffusion.sigma_min
    return Grid(
        "EDM, ρ = 7",
        lambda sigma_max, steps: schedule.edm(sigma_min, sigma_max).sigma_grid(steps),
    )


def _sub_grid(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Grid:
    own = GRIDS[own_grid(config)](config, workdir)

    def sigma_grid(sigma_max: float, steps: int) -> np.ndarray:
        return schedule.sub_grid(own.sigma_grid(sigma_max, SUB_GRID_STEPS), steps)

    return Grid(f"part of {SUB_GRID_STEPS} steps, {own.label}", sigma_grid)


GRIDS: dict[str, Callable[[ml_collections.ConfigDict, pathlib.Path], Grid]] = {
    "rational": _rational,
    "best": _best,
    "table": _table,
    "edm": _edm,
    SUB_GRID: _sub_grid,
}
_CALIBRATED = ("best", "table")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to compare.

    Attributes:
        samplers: out of `solvers.SOLVERS`.
        grids: out of `GRIDS`. All are walked by the same network.
        sigma_max: where walks start; empty: the run's own and `SMALLER_SIGMA_MAX` of it.
        calls: network calls for a picture; a sampler takes the most steps that need no more.
        images: pictures coloured in each setting.
        batch_size: pictures sampled at once.
    """

    samplers: Sequence[str] = tuple(solvers.SOLVERS)
    grids: Sequence[str] = tuple(GRIDS)
    sigma_max: Sequence[float] = ()
    calls: Sequence[int] = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)
    images: int = 64
    batch_size: int = 64


def check(settings: Settings, config: ml_collections.ConfigDict) -> None:
    """Refuses settings that cannot work.

    Raises:
        ValueError: with one line: flag, value and remedy.
    """
    for flag, names, known in (
        ("samplers", settings.samplers, solvers.SOLVERS),
        ("grids", settings.grids, GRIDS),
    ):
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            value = unknown[0] if unknown else ""
            raise ValueError(f"--{flag} names {value!r}; choose out of {','.join(known)}")
    if config.diffusion.schedule not in ("ssimbad", "edm"):
        raise ValueError(
            f"the run's diffusion.schedule is {config.diffusion.schedule!r}, whose noise levels "
            "are its own; study a run with 'ssimbad' or 'edm'"
        )
    low, high = config.diffusion.sigma_min, config.diffusion.sigma_max
    for sigma_max in settings.sigma_max:
        if not low < sigma_max <= high:
            raise ValueError(
                f"--sigma_max has {sigma_max:g}; the network was trained for noise levels up to "
                f"{high:g}: choose between {low:g} and that"
            )
    if not settings.calls or min(settings.calls) < 1:
        raise ValueError(
            f"--calls is {','.join(map(str, settings.calls))!r}; name numbers of network calls "
            "from 1, such as 1,5,10"
        )
    for flag, count in (("images", settings.images), ("batch_size", settings.batch_size)):
        if count < 1:
            raise ValueError(f"--{flag} is {count}; set it to 1 or more")


def own_grid(config: ml_collections.ConfigDict) -> str:
    """Returns which of `GRIDS` is the one of the run's own schedule."""
    return "edm" if config.diffusion.schedule == "edm" else config.calibrate.scale


def open_grids(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, names: Iterable[str]
) -> dict[str, Grid]:
    """Returns grids by name, the run's own first.

    Raises:
        FileNotFoundError: a grid comes from a calibration that the run lacks.
        ValueError: its file is damaged.
    """
    own = own_grid(config)
    try:
        return {name: GRIDS[name](config, workdir) for name in dict.fromkeys([own, *names])}
    except FileNotFoundError as error:
        if own in _CALIBRATED:
            raise
        others = ",".join(name for name in GRIDS if name not in _CALIBRATED)
        raise FileNotFoundError(f"{error}, or leave its grids out: --grids={others}") from error


def reference(config: ml_collections.ConfigDict) -> Combination:
    """Returns what all others are measured against."""
    return Combination(
        REFERENCE_SAMPLER, own_grid(config), config.diffusion.sigma_max, REFERENCE_STEPS
    )


def combinations(settings: Settings, config: ml_collections.ConfigDict) -> list[Combination]:
    """Returns what to sample, the reference first, then few calls before many.

    Those of one sampler and number of steps follow each other: only their grids differ.
    """
    own = config.diffusion.sigma_max
    sigma_max = settings.sigma_max or (own, own * SMALLER_SIGMA_MAX)
    found = {reference(config): None}
    for calls, sampler in itertools.product(sorted(set(settings.calls)), settings.samplers):
        steps = steps_within(sampler, calls)
        grids = [name for name in settings.grids if name != SUB_GRID or steps <= SUB_GRID_STEPS]
        if steps:
            walks = itertools.product([sampler], grids, sigma_max, [steps])
            found |= dict.fromkeys(itertools.starmap(Combination, walks))
    return list(found)


@functools.cache
def steps_within(sampler: str, calls: int) -> int:
    """Returns the most steps that need no more network calls; 0 if one step already does."""
    count = solvers.SOLVERS[sampler].network_calls
    return next(steps for steps in itertools.count() if count(steps + 1) > calls)
