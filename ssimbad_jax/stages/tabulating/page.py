"""The results as files: RESULTS.md with numbers only, and a page with pictures and figures."""

import datetime
import os
import pathlib
import platform
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import PIL.Image

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import report, run_record
from ssimbad_jax.stages.reporting import images, score_tables
from ssimbad_jax.stages.tabulating import calls, figures, plan, tables
from ssimbad_jax.stages.tabulating.results import Results

MARKDOWN, PAGE = "RESULTS.md", "results.html"
TITLE = "Results"

FACES = 8  # of each setting
# So that a page of large pictures stays small.
LONGEST_SIDE, LOSSLESS_BYTES = 128, 8_000


def write(out: pathlib.Path, found: Results, commands: Sequence[str]) -> None:
    """Writes RESULTS.md, the figures and the page.

    Args:
        out: folder of the results; made if it does not exist.
        found: all results.
        commands: that made the runs.

    Raises:
        OSError: they cannot be written.
    """
    made = tables.all_tables(found)
    drawn = figures.write(out, found)
    facts = _facts(found, commands)
    report.write_at_once(out / MARKDOWN, _markdown(made, drawn, facts))
    page = report.template("results.html").render(
        title=TITLE,
        facts=facts,
        tables=made,
        figures=[
            (about, picture)
            for about, path in drawn
            if (picture := images.load(path, about.about)) is not None
        ],
        faces=[*_given(found), *_faces(found)],
        metric_notes=_metric_notes(found),
    )
    report.write_at_once(out / PAGE, page)


def _markdown(
    made: Sequence[tables.Table],
    drawn: Sequence[tuple[figures.Figure, pathlib.Path]],
    facts: Sequence[tuple[str, str]],
) -> str:
    parts = [f"# {TITLE}", "\n".join(f"* {name}: {value}" for name, value in facts)]
    for table in made:
        lines = [
            "| " + " | ".join(map(_escaped, table.columns)) + " |",
            "|" + "---|" * len(table.columns),
            *("| " + " | ".join(map(_markdown_cell, row)) + " |" for row in table.rows),
        ]
        parts += [f"## {table.title}", table.note, "\n".join(lines)]
    for about, path in drawn:
        parts += [
            f"## {about.question}",
            about.about,
            f"![{about.question}]({figures.FOLDER}/{path.name})",
        ]
    if not made:
        parts.append("There are no scores yet.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_cell(cell: tables.Cell) -> str:
    return f"**{_escaped(cell.text)}**" if cell.is_best else _escaped(cell.text)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _facts(found: Results, commands: Sequence[str]) -> list[tuple[str, str]]:
    """Returns what the numbers follow from, in words."""
    records = [files.record for _, files in found.runs if files.record]
    taken = [run.name for run, files in found.runs if calls.is_taken(files.workdir)]
    versions = [record["versions"] for record in records if record.get("versions")]
    return [
        *(("command", f"`{command}`") for command in commands),
        ("date", datetime.datetime.now(datetime.UTC).date().isoformat()),
        ("machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"),
        *_devices(records),
        *((("other machines", ", ".join(taken)),) if taken else ()),
        *dict.fromkeys(("versions", _in_words(of_run)) for of_run in versions),
        ("scored", "; ".join(found.pictures) or "nothing yet"),
    ]


def _devices(records: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yields what the stages ran on, each kind once."""
    for stage, name in (
        ("train", "trained on"),
        ("refine", "refined on"),
        ("evaluate", "scored on"),
    ):
        of_stage = (record.get("stages", {}).get(stage, {}).get("devices") for record in records)
        names = dict.fromkeys(filter(None, map(run_record.name_of, of_stage)))
        if names:
            yield name, ", ".join(names)


def _in_words(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _metric_notes(found: Results) -> list[str]:
    return [
        f"{about.get('label', name)}: {about['note']}"
        for name, about in found.metrics.items()
        if about.get("note")
    ]


def _given(found: Results) -> list[images.FaceRow]:
    """Returns what all methods were given, and the targets, if a file of pairs holds them."""
    fields = next(
        (
            files.config
            for _, files in found.runs
            if files.scores and not calls.is_taken(files.workdir)
        ),
        {},
    )
    if not fields.get("eval.pairs"):
        return []  # the test split may have to be prepared, which takes long
    path, size = pathlib.Path(fields["eval.pairs"]).expanduser(), fields["data.image_size"]
    try:
        given = pairs.load(path, size).first(FACES)
    except (OSError, ValueError):
        return []
    rows = []
    for setting in pairs.SETTINGS:
        for label, arrays in (
            ("sketch", given.sketch),
            ("reference", given.reference(setting)),
            ("target", given.gt),
        ):
            pictures = tuple(
                _embedded(array, f"Face {number}, {setting} reference, {label}")
                for number, array in enumerate(arrays)
            )
            rows.append(images.FaceRow(label, score_tables.SETTINGS[setting], pictures))
    return rows


def _embedded(array: np.ndarray, text: str) -> images.Picture:
    picture = PIL.Image.fromarray(array).convert("RGB")
    return images.embed(picture, text, LONGEST_SIDE, LOSSLESS_BYTES)


def _faces(found: Results) -> list[images.FaceRow]:
    """Returns the first results of each row's first run, settings after each other."""
    rows = []
    for setting in pairs.SETTINGS:
        for of_run, files in found.runs:
            if of_run != next(other for other, _ in found.runs if other.row == of_run.row):
                continue
            scoring = of_run.row.scorings[0]
            folder = files.workdir / plan.folder(scoring) / setting
            result = found.of_scoring(of_run.row.name, scoring)
            if result is None:
                continue
            label = f"{result.label}, {result.method}"
            pictures = tuple(
                images.load(
                    folder / f"{number:05d}.png",
                    f"Face {number}, {setting} reference, {label}",
                    longest_side=LONGEST_SIDE,
                    lossless_bytes=LOSSLESS_BYTES,
                )
                for number in range(FACES)
            )
            if any(pictures):
                rows.append(images.FaceRow(label, score_tables.SETTINGS[setting], pictures))
    return rows
