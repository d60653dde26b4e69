"""What there is to colour, with which settings, and what became of it."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import ml_collections

from ssimbad_jax.data import sketch_pairs
from ssimbad_jax.stages import calibrate, colorize_files, components, weights
from ssimbad_jax.training import progress

# Fields of `eval` that decide how a result looks.
_SAMPLING = (
    "sampler",
    "sampler_steps",
    "grid_steps",
    "churn",
    "eta",
    "start_sigma",
    "posterior_draws",
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to colour; fields left at None are those of the run's `eval`.

    Attributes:
        sampler: out of `validation.CHOICES["eval.sampler"]`.
        steps: of the sampler.
        grid_steps: walk a sub-grid of a grid this long; 0: a fresh grid.
        start_sigma: noise level at which sampling starts from the re-noised posterior mean; 0: it
            starts from pure noise.
        posterior_draws: network calls that the posterior mean averages.
        eta: share of ancestral noise, for "ddim".
        checkpoint: "newest" or "best".
        seed: of the noise.
        variants: pictures of each sketch, from different noise.
        invert: white lines on black paper: "yes", "no", or "auto" to look.
        lines: "keep" lays the drawing's lines over the model's colours, "model" enlarges the
            model's picture.
        batch_size: pictures sampled at once.
        overwrite: colour again what is done, and replace files that were not made here.
        guidance_sketch: classifier-free scale of the sketch.
        guidance_reference: classifier-free scale of the reference.
        guidance_structure: pull of the sketch's lines.
    """

    sampler: str | None = None
    steps: int | None = None
    grid_steps: int | None = None
    start_sigma: float | None = None
    posterior_draws: int | None = None
    eta: float | None = None
    checkpoint: str = "newest"
    seed: int = 0
    variants: int = 1
    invert: str = "auto"
    lines: str = "keep"
    batch_size: int | None = None
    overwrite: bool = False
    guidance_sketch: float | None = None
    guidance_reference: float | None = None
    guidance_structure: float | None = None


@dataclasses.dataclass
class Outcome:
    """What became of a sketch.

    Attributes:
        item: the sketch and its reference.
        status: "done", "skipped" (it was done before) or "failed".
        reason: why it failed.
        results: the files of its variants.
        records: how each of them is made.
        seconds: spent on it by this call.
    """

    item: sketch_pairs.Item
    status: str = "skipped"
    reason: str = ""
    results: list[pathlib.Path] = dataclasses.field(default_factory=list)
    records: list[colorize_files.Record] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def fail(self, reason: object) -> None:
        """Marks it as failed and says so."""
        self.status, self.reason = "failed", " ".join(str(reason).split()) or repr(reason)
        progress.say(f"colorize: {self.item.name} failed: {self.reason}")


def model_record(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    used: weights.Weights,
    settings: Settings,
) -> colorize_files.Record:
    """Returns all that decides how a result looks, apart from its own two pictures."""
    parts = components.as_json(config)
    evaluation = parts.pop("eval")
    calibration = workdir / calibrate.RESULT
    if calibration.exists():
        parts["calibration"] = colorize_files.digest(calibration)
    run_digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return {
        "run": run_digest,
        "weights": used.kind,
        "checkpoint_step": used.step,
        **{name: evaluation[name] for name in _SAMPLING},
        **{name: getattr(settings, name) for name in ("seed", "invert", "lines")},
        "guidance": evaluation["guidance"],
    }


def plan(
    items: Sequence[sketch_pairs.Item],
    out: pathlib.Path,
    model: colorize_files.Record,
    settings: Settings,
) -> list[Outcome]:
    """Decides which files are made, and refuses what would destroy others."""
    inputs = {
        sketch_pairs.real_path(path)
        for item in items
        for path in (item.sketch, item.reference)
        if path
    }
    pages = colorize_files.contact_sheet_paths(out, len(items))
    taken = dict.fromkeys(pages, "the contact sheet")
    outcomes = []
    for item in items:
        outcome = Outcome(item)
        outcomes.append(outcome)
        if item.reference is None:
            outcome.fail(item.problem)
            continue
        try:
            pair = {
                "sketch": colorize_files.digest(item.sketch),
                "reference": colorize_files.digest(item.reference),
            }
        except OSError as error:
            outcome.fail(f"{sketch_pairs.readable(error.filename)}: {error.strerror}")
            continue
        for variant in range(settings.variants):
            path = colorize_files.result_path(out, item.name, variant)
            outcome.results.append(path)
            outcome.records.append({**model, **pair, "variant": variant})
        problems = (_problem(path, taken, inputs, settings) for path in outcome.results)
        if problem := next(filter(None, problems), ""):
            outcome.fail(problem)
        taken.update(dict.fromkeys(outcome.results, item.name))
    return outcomes


def _problem(
    path: pathlib.Path,
    taken: Mapping[pathlib.Path, str],
    inputs: Collection[pathlib.Path],
    settings: Settings,
) -> str:
    """Returns why a result cannot be written to a path; empty if it can."""
    if path in taken:
        return f"{path.name} is also the file of {taken[path]}; rename one of them"
    if sketch_pairs.real_path(path) in inputs:
        return f"{path.name} is an input itself; name another --out"
    if path.exists() and not settings.overwrite and colorize_files.read_record(path) is None:
        return f"{path} was not made by this program; --overwrite would replace it"
    return ""


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Returns an outcome for the report, in plain JSON types."""
    item = outcome.item
    return {
        "name": item.name,
        "sketch": sketch_pairs.readable(item.sketch),
        "reference": sketch_pairs.readable(item.reference) if item.reference else None,
        "status": outcome.status,
        "reason": outcome.reason,
        "results": [
            sketch_pairs.readable(path) for path in outcome.results if outcome.status != "failed"
        ],
        "seconds": round(outcome.seconds, 3),
    }
