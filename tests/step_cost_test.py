"""Cost of training steps, as XLA plans them."""

import pytest

from ssimbad_jax.stages import step_cost
from tests import tiny_run


def refinement_cost(config, batch_size, steps):
    config.refine.update(sampler_steps=steps, grid_steps=0)
    return step_cost.of_step(config, "refine", batch_size)


@pytest.mark.slow
def test_more_steps_cost_one_state_each(prepared_dir):
    """The bound that the paper's size is held to by `scripts.benchmark refinement_memory`."""
    config = tiny_run.make_config(prepared_dir, data__image_size=32)
    few, many = (refinement_cost(config, 8, steps) for steps in (5, 50))
    states = 45 * step_cost.state_bytes(config, 8)
    assert few.temporary < many.temporary <= 1.15 * few.temporary + states
    assert many.arguments == few.arguments
    assert many.memory == many.temporary + many.arguments


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilation")
def test_a_batch_costs_in_proportion(prepared_dir):
    config = tiny_run.make_config(prepared_dir)
    small, large = (refinement_cost(config, size, 3) for size in (8, 32))
    assert 3 < large.temporary / small.temporary < 4.5


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilation")
def test_flops_are_those_of_the_convolutions(prepared_dir):
    """Counted by hand for the widest layers: most of a step are its convolutions."""
    config = tiny_run.make_config(prepared_dir, model__base_channels=32, model__num_groups=8)
    small, large = (step_cost.of_step(config, "train", size) for size in (4, 8))
    assert large.parameters == small.parameters
    of_picture = (large.flops - small.flops) / 4
    # Forward, gradient of the input and of the kernel: three times 2 H W k k C_in C_out a layer.
    at_16 = 7 * 32 + 9 * (2 * 32 * 32) + 9 * (96 * 32 + 64 * 32 + 2 * 32 * 32) + 32 * 3
    assert of_picture == pytest.approx(3 * 2 * 256 * at_16, rel=1.0)
    assert of_picture > 3 * 2 * 256 * at_16
