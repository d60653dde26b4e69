"""The report: one page that shows a run, or compares several.

everything in the workdir -> report.html, which needs no other file and no network
"""

import pathlib
from collections.abc import Sequence

import jax
import jinja2
import ml_collections

from ssimbad_jax.stages.reporting import curves, facts, images, run_files, score_tables
from ssimbad_jax.training import progress, whole_file

RESULT = "report.html"


def report(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Writes the page of a run; of several hosts only the first does.

    Args:
        config: not read: the page shows what the workdir holds.
        workdir: of the run.
    """
    del config
    if jax.process_index() == 0:
        path = default_path([workdir])
        write([workdir], path)
        progress.say(f"report: {path}")


def default_path(workdirs: Sequence[pathlib.Path]) -> pathlib.Path:
    """Returns where the page goes: to the one run, or else to the current folder."""
    return (workdirs[0] if len(workdirs) == 1 else pathlib.Path()) / RESULT


def write(workdirs: Sequence[pathlib.Path], path: pathlib.Path) -> None:
    """Writes the page of one run or the comparison of several.

    Args:
        workdirs: of the runs, in the order to show.
        path: the HTML.

    Raises:
        ValueError: a folder is no run, or a run is named twice; nothing was written.
    """
    names = run_files.names(workdirs)
    runs = [run_files.read(workdir, name) for workdir, name in zip(workdirs, names, strict=True)]
    write_at_once(path, render(runs))


def write_at_once(path: pathlib.Path, page: str) -> None:
    """Writes a page or another text, so that a reader finds the old one or the new one.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file.replacing(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")


def template(name: str) -> jinja2.Template:
    """Returns a template of a page, which escapes what it is given."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ssimbad_jax.stages.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def render(runs: Sequence[run_files.RunFiles]) -> str:
    """Returns the page; equal files give equal text."""
    from_paper, between_runs, all_fields = facts.config(runs)
    return template("report.html").render(
        runs=runs,
        overview=facts.overview(runs),
        tables=score_tables.tables(runs),
        score_notes=score_tables.notes(runs),
        grids=images.grids(runs),
        strips=images.denoising_strips(runs),
        faces=images.faces(runs),
        samples=images.newest_samples(runs),
        training=curves.training(runs),
        refinement=curves.refinement(runs),
        calibrations=[
            (run, curves.calibration(run), images.noise_levels(run))
            for run in runs
            if run.calibration
        ],
        fields_from_paper=from_paper,
        fields_between_runs=between_runs,
        fields=all_fields,
        paper=facts.PAPER,
        times=facts.times(runs),
        versions=facts.versions(runs),
    )
