"""Pictures of a run as part of the page: small files inside of it, each once."""

import base64
import io
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import markupsafe
import PIL.Image

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import calibrate
from ssimbad_jax.stages.reporting import run_files, score_tables

LOSSLESS_BYTES = 200_000  # larger pictures lose a little
LOSSY_QUALITY = 88
LONGEST_SIDE = 2400  # pixels
FACES = 12  # of each setting, shown one by one


class Picture(NamedTuple):
    """A picture to be shown.

    Attributes:
        uri: its data.
        width: pixels.
        height: pixels.
        text: says in words what it shows.
    """

    uri: markupsafe.Markup
    width: int
    height: int
    text: str


class FaceRow(NamedTuple):
    """How one way of colouring did the first test faces.

    Attributes:
        label: which way.
        setting: what the reference is.
        pictures: by the number of the face; None where there is none.
    """

    label: str
    setting: str
    pictures: tuple[Picture | None, ...]


Labelled = tuple[str, Picture]


def load(path: pathlib.Path, text: str, **how: int) -> Picture | None:
    """Returns a picture as WebP, or None if there is none that can be read.

    It is kept to the bit where that is small, or else compressed with hardly visible losses.

    Args:
        path: of the picture.
        text: says in words what it shows.
        **how: further arguments of `embed`.
    """
    try:
        with PIL.Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        return None
    return embed(picture, text, **how)


def embed(
    picture: PIL.Image.Image,
    text: str,
    longest_side: int = LONGEST_SIDE,
    lossless_bytes: int = LOSSLESS_BYTES,
) -> Picture:
    """Returns a picture as WebP; see `load`.

    Args:
        picture: RGB.
        text: says in words what it shows.
        longest_side: pixels; larger ones are made smaller.
        lossless_bytes: larger files lose a little.
    """
    picture.thumbnail((longest_side, longest_side))
    data = _encoded(picture, lossless=True)
    if len(data) > lossless_bytes:
        data = _encoded(picture, quality=LOSSY_QUALITY)
    uri = "data:image/webp;base64," + base64.b64encode(data).decode("ascii")
    return Picture(markupsafe.Markup(uri), picture.width, picture.height, text)


def noise_levels(run: run_files.RunFiles) -> Picture | None:
    """Returns the picture of noise levels along the axes."""
    return load(
        run.workdir / calibrate.NOISE_PICTURE,
        "A training picture under noise levels evenly spaced along three noise axes, a row an "
        "axis, with the SSIM to the clean picture below each.",
    )


def grids(runs: Sequence[run_files.RunFiles]) -> list[Labelled]:
    """Returns the best, median and worst results of each folder of results."""
    text = (
        "Three rows each of the best, median and worst results by SSIM: sketch, reference, "
        "result, target, cross reference and result."
    )
    return list(_of_results(runs, "grid.png", text))


def denoising_strips(runs: Sequence[run_files.RunFiles]) -> list[Labelled]:
    """Returns what the sampler passes on its way, for each folder of results."""
    text = "A few test faces at noise levels along the sigma grid, from noise to the result."
    return list(_of_results(runs, "denoising.png", text))


def newest_samples(runs: Sequence[run_files.RunFiles]) -> list[Labelled]:
    """Returns the pictures that each training and each refinement drew last."""
    found = []
    for run in runs:
        for folder, prefix in (("samples", ""), ("refine/samples", "refinement, ")):
            for path in sorted((run.workdir / folder).glob("*.png"))[::-1]:
                text = "Held-out sketches, references, results, targets: a row a face."
                picture = load(path, text)
                if picture:
                    step = f"{prefix}step {path.stem.lstrip('0') or '0'}"
                    found.append((step if len(runs) == 1 else f"{run.name}, {step}", picture))
                    break
    return found


def faces(runs: Sequence[run_files.RunFiles]) -> list[FaceRow]:
    """Returns the first results of each run and folder, settings after each other."""
    sources = [(run, score) for run in runs for score in run.scores]
    count = _faces_shown([score for _, score in sources])
    rows = []
    for setting in pairs.SETTINGS:
        for run, score in sources:
            label = _label(runs, run, score)
            pictures = tuple(
                load(
                    score.folder / setting / f"{number:05d}.png",
                    f"Face {number}, {setting} reference, {label}",
                )
                for number in range(count)
            )
            if any(pictures):
                rows.append(FaceRow(label, score_tables.SETTINGS[setting], pictures))
    return rows


def _faces_shown(scores: Sequence[run_files.Scores]) -> int:
    """Returns how many faces there are at most, up to `FACES`."""
    counts = [
        sum((score.folder / setting / f"{number:05d}.png").is_file() for number in range(FACES))
        for score in scores
        for setting in pairs.SETTINGS
    ]
    return max(counts, default=0)


def _label(
    runs: Sequence[run_files.RunFiles], run: run_files.RunFiles, score: run_files.Scores
) -> str:
    rows = score.summary["rows"]
    # The pictures are those of the first method.
    label = f"{rows[0]['method']} ({score.name})" if rows else score.name
    return label if len(runs) == 1 else f"{run.name}, {label}"


def _of_results(runs: Sequence[run_files.RunFiles], file: str, text: str) -> Iterator[Labelled]:
    for run in runs:
        for score in run.scores:
            picture = load(score.folder / file, text)
            if picture:
                yield _label(runs, run, score), picture


def _encoded(picture: PIL.Image.Image, **how: float) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="WEBP", method=4, **how)
    return file.getvalue()
