"""What a training shows of itself on held-out pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.data import conditions
from ssimbad_jax.stages import held_out, pictures, train
from ssimbad_jax.training import sharding
from tests import toy_problem

SKETCH, REFERENCE, TARGET = -1.0, 0.5, 0.1


@pytest.fixture
def draw_grids(tmp_path, monkeypatch):
    """Draws the grid of a state; a sampler is given, and (columns by title) comes back."""

    def draw(key, batch):
        noise = jax.random.normal(key, batch["image"].shape)
        condition = jnp.full((2, 4, 4, 4), REFERENCE).at[..., 0].set(SKETCH)
        return train.Examples(batch["image"], condition, None, noise)

    saved = []
    monkeypatch.setattr(
        pictures,
        "save_grid",
        lambda path, columns, titles: saved.append(dict(zip(titles, columns, strict=True))),
    )

    def draw_grids(sample, states):
        batch = {"image": jnp.full((2, 4, 4, 3), TARGET)}
        keys = (jax.random.key(1), jax.random.key(2))
        drawer = held_out.picture_drawer(draw, sample, keys, batch, tmp_path)
        for state in states:
            drawer(state)
        return saved

    return draw_grids


def test_pictures_are_sampled_with_other_noise_than_they_start_from(draw_grids):
    def sample(params, noise, condition, key):
        return jax.random.normal(key, noise.shape) - noise

    (grid,) = draw_grids(sample, [toy_problem.new_state()])
    assert np.ptp(grid["result"].astype(int)) > 100


def test_pictures_are_made_by_the_average_from_the_same_noise_each_time(draw_grids):
    def sample(params, noise, condition, key):
        return 0.1 * (noise + jax.random.normal(key, noise.shape)) + params["b"]

    first = toy_problem.new_state()
    later = first.replace(params={"b": 9.0}, ema_params={"b": jnp.asarray(64 / 127.5)})
    before, again, after = draw_grids(sample, [first, first, later])
    np.testing.assert_array_equal(before["result"], again["result"])
    difference = after["result"].astype(int) - before["result"]
    assert np.abs(difference - 64).max() <= 1
    for title, value in (("sketch", SKETCH), ("reference", REFERENCE), ("target", TARGET)):
        assert (before[title] == conditions.to_uint8(jnp.asarray(value))).all()


def test_the_sampler_is_compiled_once(draw_grids):
    traced = []

    def sample(params, noise, condition, key):
        traced.append(noise.shape)
        return noise

    draw_grids(sample, [toy_problem.new_state()] * 3)
    assert traced == [(2, 4, 4, 3)]


def test_validation_is_of_the_average_and_draws_the_same_each_time():
    batches = [
        {**toy_problem.batch_at(step), "mask": jnp.arange(16) < 16 - step} for step in (0, 5)
    ]
    key = jax.random.key(3)
    validate = held_out.validator(toy_problem.draw, toy_problem.loss_fn, key, batches)
    state = toy_problem.new_state()
    other = state.replace(params=jax.tree.map(lambda x: x + 1, state.params))
    losses = [
        toy_problem.loss_fn(
            state.ema_params,
            toy_problem.draw(jax.random.fold_in(key, number), toy_problem.batch_at(step)),
        )[: 16 - step]
        for number, step in enumerate((0, 5))
    ]
    expected = float(jnp.concatenate(losses).mean())
    for shown in (state, other, state):
        assert validate(shown) == pytest.approx(expected, rel=1e-5)


class Pictures(list):
    has_sketches = False


def _stored(count):
    return Pictures({"image": np.full((4, 4, 3), number, np.uint8)} for number in range(count))


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [(20, 8, [8] * 3), (16, 8, [8] * 2), (3, 8, [8]), (3, 64, [8])],
)
def test_batches_are_no_larger_than_the_training_ones(count, batch_size, sizes):
    batches = held_out.make_batches(_stored(count), batch_size, sharding.data_mesh())
    assert [len(batch["image"]) for batch in batches] == sizes
    assert all(set(batch) == {"image", "mask"} for batch in batches)
    assert all(len(batch["image"].addressable_shards[0].data) == 1 for batch in batches)
    shown = np.concatenate([batch["image"][batch["mask"], 0, 0, 0] for batch in batches])
    np.testing.assert_array_equal(shown, np.arange(count))


@pytest.mark.parametrize("count", [20, 3])
def test_the_first_pictures_are_shown_whatever_the_number_of_devices(count):
    batch = held_out.first_batch(_stored(count), sharding.data_mesh())
    assert set(batch) == {"image"}
    np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], np.arange(min(count, 8)))


def test_what_pictures_are_missing(tmp_path):
    held_out.picture_path(tmp_path, 7).touch()
    assert [held_out.lacks_pictures(tmp_path, step) for step in (7, 8)] == [False, True]
