"""`stages.toy_cross` and the command that writes it."""

import subprocess
import sys

import numpy as np
import pytest

from ssimbad_jax.data.toy_faces import drawing, palette
from ssimbad_jax.metrics import role_colour
from ssimbad_jax.stages import toy_cross
from tests import program

NUMBERS = {role.name.lower(): int(role) for role in palette.Role}


def test_no_seed_occurs_twice_or_in_training():
    seeds = toy_cross.benchmark_seeds(300) + toy_cross.benchmark_seeds(5, skins_differ=True)
    flat = [seed for one in seeds for seed in one]
    assert len(set(flat)) == len(flat)
    assert min(flat) >= toy_cross.FIRST_TEST_SEED


def test_the_sketch_tells_no_colours_and_lies_on_the_target():
    seeds = toy_cross.benchmark_seeds(1)[0]
    pair = toy_cross.make_pair(seeds, 64)
    other = toy_cross.make_pair(seeds._replace(palette=seeds.palette + 1), 64)
    np.testing.assert_array_equal(pair.sketch, other.sketch)
    np.testing.assert_array_equal(pair.own, other.own)
    assert (pair.target != other.target).any()
    # Lines of the sketch are dark in the truth, too.
    is_line = pair.sketch < 128
    assert 0.01 < is_line.mean() < 0.3
    luma = pair.target.mean(axis=-1)
    assert luma[is_line].mean() < 0.75 * luma[~is_line].mean()


def test_the_truth_scores_best_and_skins_of_the_further_pairs_count():
    pairs = [toy_cross.make_pair(s, 32) for s in toy_cross.benchmark_seeds(6, skins_differ=True)]
    target, own, roles, reference = (
        np.stack([getattr(pair, name) for pair in pairs])
        for name in ("target", "own", "roles", "reference_roles")
    )
    scores = role_colour.role_scores(target, target, own, roles, reference, NUMBERS)
    assert scores["all"].obedience == pytest.approx(1.0, abs=1e-6)
    assert scores["skin"].coverage > 0.5


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="size is 100; set it to a positive multiple of 8"):
        toy_cross.make_pair(toy_cross.benchmark_seeds(1)[0], 100)
    with pytest.raises(ValueError, match="count is 0"):
        toy_cross.benchmark_seeds(0)


def _write(out, *flags):
    return subprocess.run(
        [sys.executable, "-m", "scripts.toy_cross", f"--out={out}", *flags],
        cwd=program.REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_writes_what_the_page_says(tmp_path):
    out = tmp_path / "toy_cross.npz"
    done = _write(out, "--size=32", "--count=2", "--skins=1")
    assert done.returncode == 0, done.stderr
    page = (program.REPOSITORY / "docs" / "toy_cross.md").read_text()
    with np.load(out) as file:
        assert file["target"].shape == (3, 32, 32, 3) and file["sketch"].shape == (3, 32, 32)
        assert file["has_other_skin"].tolist() == [False, False, True]
        assert str(file["version"]) == drawing.VERSION
        assert all(f"`{name}`" in page for name in file.files)
        first = toy_cross.make_pair(toy_cross.Seeds(*file["seeds"][0].tolist()), 32)
        for name in toy_cross.Pair._fields:
            np.testing.assert_array_equal(file[name][0], getattr(first, name))
    refused = _write(tmp_path / "a.txt")
    assert refused.returncode == 1 and refused.stderr.startswith("error: --out is ")
