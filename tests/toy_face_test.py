"""Tests of the TFDS builder of the procedural faces."""

import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest

from ssimbad_jax.data import toy_face
from ssimbad_jax.data.toy_faces import drawing


def test_builder_round_trip(tmp_path, capfd):
    builder = toy_face.prepare(tmp_path, train=5, test=3, size=32, seed=7, workers=1)
    output = capfd.readouterr()
    assert len(output.out.splitlines()) == 1 and not output.err.strip()
    sources = {split: builder.as_data_source(split=split) for split in ("train", "test")}
    assert {split: len(source) for split, source in sources.items()} == {"train": 5, "test": 3}
    for split, source in sources.items():
        for i in range(len(source)):
            face = drawing.draw(toy_face.face_seed(7, split, i), 32)
            np.testing.assert_array_equal(source[i]["image"], face)
    again = toy_face.prepare(tmp_path, train=5, test=3, size=32, seed=7)
    assert again.data_path == builder.data_path
    assert capfd.readouterr().out == ""


def test_workers_do_not_change_the_pictures(tmp_path):
    one, two = (
        toy_face.prepare(tmp_path / str(workers), train=3, test=1, size=16, workers=workers)
        for workers in (1, 2)
    )
    for first, second in zip(*(b.as_data_source(split="train") for b in (one, two)), strict=True):
        np.testing.assert_array_equal(first["image"], second["image"])


def test_configurations_do_not_share_files(tmp_path):
    arguments = {"train": 1, "test": 1, "size": 16, "seed": 0}
    variants = [arguments] + [{**arguments, name: value + 1} for name, value in arguments.items()]
    paths = {
        str(toy_face.prepare(tmp_path, workers=1, **variant).data_path) for variant in variants
    }
    assert len(paths) == len(variants)
    assert all(path.endswith(drawing.VERSION) for path in paths)


def test_splits_and_seeds_are_disjoint():
    seeds = [
        toy_face.face_seed(seed, split, index)
        for seed in range(4)
        for split in ("train", "test")
        for index in (0, 1, 1000, 2**32 - 1)
    ]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("field", "value"),
    [("train", 0), ("train", -4), ("test", -1), ("size", 7), ("seed", -1), ("workers", 0)],
)
def test_bad_configurations(tmp_path, field, value):
    arguments = {"train": 1, "test": 1, "size": 16, "seed": 0, field: value}
    with pytest.raises(ValueError, match=rf"{field}.*{value}"):
        toy_face.prepare(tmp_path, **arguments)
    assert not any(tmp_path.iterdir())


_DRAW_WITHOUT_END = """
import itertools
from ssimbad_jax.data import toy_face
if __name__ == "__main__":
    for _ in toy_face._draw_all(itertools.count(), 8, workers=1 + 1):
        print("drawn", flush=True)
"""


def test_workers_end_with_a_killed_parent(tmp_path):
    (tmp_path / "draw.py").write_text(_DRAW_WITHOUT_END)
    repository = pathlib.Path(__file__).resolve().parents[1]
    process = subprocess.Popen(
        [sys.executable, tmp_path / "draw.py"],
        env={**os.environ, "PYTHONPATH": str(repository)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "drawn\n"
    process.kill()
    process.wait()
    # The workers hold the other end of the pipe, which closes with the last of them.
    rest = threading.Thread(target=process.stdout.read, daemon=True)
    rest.start()
    rest.join(30)
    assert not rest.is_alive(), "a worker still runs"
    process.stdout.close()
