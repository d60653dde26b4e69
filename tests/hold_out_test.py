"""Pictures set aside for validation."""

import numpy as np
import pytest

from ssimbad_jax.data import hold_out


class _Records:
    """Twenty records that know their number."""

    split, size, has_sketches, fingerprint = "train", 16, False, "twenty"

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return {"image": np.full((16, 16, 3), index, np.uint8), "index": np.asarray(index)}


def _numbers(subset):
    return [int(subset[index]["index"]) for index in range(len(subset))]


@pytest.mark.parametrize("count", [1, 7, 19])
def test_the_parts_are_disjoint_complete_and_in_order(count):
    remaining, held_out = hold_out.hold_out(_Records(), count, seed=0)
    assert (len(remaining), len(held_out)) == (20 - count, count)
    assert sorted(_numbers(remaining) + _numbers(held_out)) == list(range(20))
    for part in (remaining, held_out):
        assert _numbers(part) == sorted(_numbers(part))
        assert all(
            part[index]["image"].max() == number for index, number in enumerate(_numbers(part))
        )


def test_the_seed_decides():
    def held_out(seed):
        return _numbers(hold_out.hold_out(_Records(), 6, seed)[1])

    assert held_out(0) == held_out(0)
    assert len({tuple(held_out(seed)) for seed in range(5)}) > 1
    assert held_out(0) != list(range(6))


def test_a_part_is_a_source():
    remaining, _ = hold_out.hold_out(_Records(), 5, seed=0)
    assert (remaining.split, remaining.size, remaining.has_sketches) == ("train", 16, False)
    assert remaining.fingerprint == "twenty"
    assert "15" in repr(remaining)


@pytest.mark.parametrize("count", [0, -1, 20, 21])
def test_impossible_counts_are_refused(count):
    with pytest.raises(ValueError, match=rf"{count} of 20 .*train\.validation_images"):
        hold_out.hold_out(_Records(), count, seed=0)
