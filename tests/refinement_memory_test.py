"""Memory of a refinement step, as XLA plans it."""

from ssimbad_jax.stages import refinement_memory
from tests import tiny_run


def test_more_steps_cost_one_state_each(prepared_dir):
    """The bound that the paper's size is held to by `ssimbad_jax.benchmark refinement_memory`."""
    config = tiny_run.make_config(prepared_dir, data__image_size=32)
    few, many = (refinement_memory.of_step(config, 8, steps) for steps in (5, 50))
    states = 45 * refinement_memory.state_bytes(config, 8)
    assert few.temporary < many.temporary <= 1.15 * few.temporary + states
    assert many.arguments == few.arguments
    assert many.total == many.temporary + many.arguments


def test_a_batch_costs_in_proportion(prepared_dir):
    config = tiny_run.make_config(prepared_dir)
    small, large = (refinement_memory.of_step(config, size, 3) for size in (8, 32))
    assert 3 < large.temporary / small.temporary < 4.5
