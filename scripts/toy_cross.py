"""Writes the benchmark of exact cross references as one .npz file.

    python -m scripts.toy_cross --out=toy_cross128.npz --size=128

docs/toy_cross.md says what each array is. The same flags write the same numbers.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
from absl import app, flags

from ssimbad_jax.data.toy_faces import drawing
from ssimbad_jax.stages import failures, toy_cross
from ssimbad_jax.training import numerics, progress, whole_file

_OUT = flags.DEFINE_string("out", None, "The file to write, .npz.", required=True)
_SIZE = flags.DEFINE_integer("size", 128, "Height and width in pixels, a multiple of 8.")
_COUNT = flags.DEFINE_integer("count", 200, "Pairs.", lower_bound=1)
_SKINS = flags.DEFINE_integer("skins", 50, "Further pairs of unlike skins.", lower_bound=0)
_PATTERNED = flags.DEFINE_bool("patterned", False, "Rooms with patterns and coloured light.")


def main(argv: Sequence[str]) -> None:
    """Writes the file."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; flags start with --")
    numerics.settle()
    out = pathlib.Path(_OUT.value).expanduser()
    with failures.in_one_line():
        if out.suffix != ".npz" or not out.parent.is_dir():
            raise ValueError(f"--out is {out}; name an .npz file in a folder that exists")
        seeds = toy_cross.benchmark_seeds(_COUNT.value)
        if _SKINS.value:
            seeds += toy_cross.benchmark_seeds(_SKINS.value, skins_differ=True)
        pairs = []
        with progress.Progress("toy_cross", len(seeds), unit="pair") as bar:
            for one in seeds:
                pairs.append(toy_cross.make_pair(one, _SIZE.value, plain=not _PATTERNED.value))
                bar.advance()
        arrays = {
            name: np.stack([getattr(pair, name) for pair in pairs])
            for name in toy_cross.Pair._fields
        }
        arrays["seeds"] = np.array(seeds)
        arrays["has_other_skin"] = np.arange(len(seeds)) >= _COUNT.value
        arrays["version"] = np.array(drawing.VERSION)
        with whole_file.replacing(out) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
    progress.say(f"toy_cross: {len(seeds)} pairs of {_SIZE.value} px are in {out}")


if __name__ == "__main__":
    app.run(main)
