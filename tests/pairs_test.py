"""Evaluation pairs: made of a test split, and read from files."""

import pickle

import jax
import numpy as np
import pytest

from ssimbad_jax.data import conditions, pairs
from tests import black_pairs

KEY = jax.random.key(0)


class _Faces:
    """Seven plain pictures, each of its own grey."""

    split = "test"

    def __init__(self, count=7):
        self._count = count

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        return {
            "image": np.full((32, 32, 3), 30 * (index + 1), np.uint8),
            "index": np.asarray(index),
        }


def _make(count=7, key=KEY, **arguments):
    # The natural warp leaves a plain picture plain.
    return pairs.make(_Faces(count), key, image_size=16, warp="natural", **arguments)


def _grey(pictures):
    return pictures.mean(axis=(1, 2, 3)).round().astype(int)


@pytest.mark.parametrize("batch_size", [4, 7, 16])
def test_one_pair_a_picture_in_order(batch_size):
    made = _make(batch_size=batch_size)
    assert made.gt.shape == made.reference_same.shape == made.reference_cross.shape
    assert made.gt.shape == (7, 16, 16, 3) and made.sketch.shape == (7, 16, 16)
    assert {array.dtype for array in made} == {np.dtype(np.uint8)}
    np.testing.assert_array_equal(_grey(made.gt), 30 * np.arange(1, 8))
    np.testing.assert_array_equal(_grey(made.reference_same), _grey(made.gt))


@pytest.mark.parametrize("count", [2, 3, 7])
def test_cross_references_are_everybody_elses_faces(count):
    for seed in range(3):
        made = _make(count, jax.random.key(seed))
        cross = _grey(made.reference_cross)
        assert (cross != _grey(made.gt)).all()
        assert sorted(cross) == sorted(_grey(made.gt))  # each face lends itself once


def test_the_key_decides():
    first, again, other = _make(), _make(), _make(key=jax.random.key(1))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first.reference_cross != other.reference_cross).any()


def test_given_sketches_are_kept():
    class Drawn(_Faces):
        def __getitem__(self, index):
            sketch = np.full((32, 32, 1), 10 * index, np.uint8)
            return {**super().__getitem__(index), "sketch": sketch}

    made = pairs.make(Drawn(), KEY, image_size=16, warp="natural")
    np.testing.assert_array_equal(
        made.sketch, (10 * np.arange(7))[:, None, None].repeat(16, 1).repeat(16, 2)
    )


def test_one_picture_has_no_cross_reference():
    with pytest.raises(ValueError, match=r"1 picture.*eval\.pairs"):
        _make(1)


def test_settings_and_first_pairs():
    made = _make()
    assert made.reference("same") is made.reference_same
    assert made.reference("cross") is made.reference_cross
    assert [len(array) for array in made.first(3)] == [3] * 4
    assert [len(array) for array in made.first(0)] == [7] * 4
    assert [len(array) for array in made.first(100)] == [7] * 4


def test_files_return_what_was_saved(tmp_path):
    made = _make()
    np.savez_compressed(tmp_path / "pairs.npz", other=np.arange(3), **made._asdict())
    for a, b in zip(pairs.load(tmp_path / "pairs.npz", 16), made, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sketch": None, "gt": None}, "lacks gt, sketch"),
        ({"gt": np.zeros((2, 16, 16, 3))}, r"gt in .* is float64 \(2, 16, 16, 3\), expected uint8"),
        ({"gt": np.zeros((2, 8, 16, 3), np.uint8)}, r"\(2, 8, 16, 3\).*data\.image_size = 16"),
        (
            {"sketch": np.zeros((2, 16, 16, 1), np.uint8)},
            r"sketch in .*expected uint8 \(2, 16, 16\)",
        ),
        ({"reference_cross": np.zeros((3, 16, 16, 3), np.uint8)}, "reference_cross in .* expected"),
        ({"gt": np.zeros((), np.uint8)}, r"gt in .* is uint8 \(\)"),
        ({"gt": np.array([None, "x"])}, r"is no \.npz of arrays: .*allow_pickle"),
    ],
)
def test_files_that_are_no_pairs_are_refused(tmp_path, changes, message):
    picture = np.zeros((2, 16, 16, 3), np.uint8)
    arrays = {
        "gt": picture,
        "sketch": picture[..., 0],
        "reference_same": picture,
        "reference_cross": picture,
        **changes,
    }
    path = tmp_path / "pairs.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=message) as refusal:
        pairs.load(path, 16)
    assert str(path) in str(refusal.value)


def test_no_pairs_at_all_are_refused(tmp_path):
    black_pairs.save(tmp_path / "pairs.npz", 0, 16)
    with pytest.raises(ValueError, match=r"gt in .* is uint8 \(0, 16, 16, 3\)"):
        pairs.load(tmp_path / "pairs.npz", 16)


def _npy(path):
    with path.open("wb") as file:
        np.save(file, np.zeros((2, 16, 16, 3), np.uint8))


def _damaged(path):
    picture = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    np.savez_compressed(path, gt=picture)
    content = bytearray(path.read_bytes())
    content[200:900] = bytes(700)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("no archive"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(pickle.dumps({"gt": 1})),
        _npy,
        _damaged,
    ],
    ids=["text", "empty", "pickle", "npy", "damaged"],
)
def test_files_of_another_kind_are_refused(tmp_path, write):
    path = tmp_path / "pairs.npz"
    write(path)
    with pytest.raises(ValueError, match=r"eval\.pairs is .*pairs\.npz', which is no \.npz"):
        pairs.load(path, 16)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"eval\.pairs is .*nowhere\.npz'.*check the path"):
        pairs.load(tmp_path / "nowhere.npz", 16)


def test_the_benchmark_is_read(shared):
    for size in (32, 64):
        loaded = pairs.load(shared / "benchmark" / f"pairs{size}.npz", size)
        assert loaded.gt.shape == (200, size, size, 3)
        target = conditions.from_uint8(loaded.gt.astype(np.uint8))
        assert float(target.min()) < -0.9 and float(target.max()) > 0.9
        sketch = loaded.sketch.astype(float)
        assert sketch.mean() > 180 and sketch.min() == 0  # lines on white paper
