"""What checkpoints cost, measured on a tiny network; the figures mean nothing here."""

import pytest

from ssimbad_jax.stages import checkpoint_cost
from ssimbad_jax.training import checkpoint, sharding
from tests import tiny_run

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_parts_with_and_without_a_checkpoint_take_turns(prepared_dir, monkeypatch):
    saved, save = [], checkpoint.Checkpoints.save

    def counted(self, state, **rest):
        saved.append(int(state.step))
        save(self, state, **rest)

    monkeypatch.setattr(checkpoint.Checkpoints, "save", counted)
    config = tiny_run.make_config(prepared_dir, model__channel_multipliers=(1,))
    seconds = checkpoint_cost.measure(config, sharding.data_mesh(), steps=2, rounds=2)
    # One step each to compile; then two without one, two with one.
    assert saved == [1, 4, 8]
    assert len(seconds.without) == len(seconds.with_one) == 2
    assert min(*seconds.without, *seconds.with_one) > 0
