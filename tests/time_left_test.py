"""How long a run will take after its training."""

import pytest

from ssimbad_jax.stages import time_left
from tests import black_pairs, tiny_run

# So that a call of the network takes a millisecond for each picture.
SECONDS_PER_STEP = 0.001 * 3 * 8
REFINEMENT = 0.001 * 6 * 8 * 3 * 4  # steps, pictures, calls of the solver, and each is worth four
SCORING_REFINED = 0.001 * 2 * tiny_run.TEST_IMAGES * (3 + 1)  # settings; the posterior mean
SCORING = 0.001 * 2 * tiny_run.TEST_IMAGES * (2 + 1)


def _time_left(prepared_dir, following=("evaluate",), stage="train", devices=1, **fields):
    config = tiny_run.make_config(prepared_dir, **fields)
    seconds = SECONDS_PER_STEP * (4 if stage == "refine" else 1)
    return time_left.seconds_after(stage, config, following, seconds, 36, devices)


def test_scoring_follows_a_training(prepared_dir):
    assert _time_left(prepared_dir) == pytest.approx({"scoring": SCORING})
    twice = _time_left(prepared_dir, eval__num_seeds=2)
    assert twice == pytest.approx({"scoring": 2 * SCORING})
    assert _time_left(prepared_dir, eval__max_images=1)["scoring"] == pytest.approx(
        SCORING / tiny_run.TEST_IMAGES
    )


def test_refinement_comes_between_where_it_is_asked_for(prepared_dir):
    after = _time_left(prepared_dir, ["refine", "evaluate", "report"])
    assert list(after) == ["refinement", "scoring"]
    assert after == pytest.approx({"refinement": REFINEMENT, "scoring": SCORING_REFINED})
    by_epochs = _time_left(prepared_dir, ["refine"], refine__steps=0, refine__epochs=2)
    assert by_epochs == pytest.approx({"refinement": REFINEMENT * (2 * 36 // 8) / 6})


def test_only_what_follows_is_counted(prepared_dir):
    assert not _time_left(prepared_dir, [], refine__enabled=True, eval__pairs="not there.npz")
    assert not _time_left(prepared_dir, ["report"])


def test_refinements_of_small_batches_leave_devices_idle(prepared_dir):
    busy, idle = (
        _time_left(prepared_dir, ["refine"], devices=devices)["refinement"] for devices in (8, 16)
    )
    assert busy == pytest.approx(REFINEMENT)
    assert idle == pytest.approx(2 * REFINEMENT)


def test_a_refinement_is_followed_by_scoring_with_its_solver(prepared_dir):
    step = SECONDS_PER_STEP * 4 / (8 * 3 * 4)
    expected = step * SCORING_REFINED / 0.001
    assert _time_left(prepared_dir, stage="refine") == pytest.approx({"scoring": expected})


def test_given_pairs_are_counted(prepared_dir, tmp_path):
    black_pairs.save(tmp_path / "pairs.npz", 3, tiny_run.IMAGE_SIZE)
    after = _time_left(prepared_dir, eval__pairs=str(tmp_path / "pairs.npz"))
    assert after["scoring"] == pytest.approx(SCORING * 3 / tiny_run.TEST_IMAGES)
