"""Plans of tiny trainings."""

import re

import pytest

from ssimbad_jax.stages import plan_run, step_cost
from tests import tiny_run

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture
def config(prepared_dir):
    return tiny_run.make_config(prepared_dir, model__channel_multipliers=(1,))


@pytest.fixture
def nothing_is_compiled(monkeypatch):
    """Costs that are known beforehand."""
    monkeypatch.setattr(
        plan_run.step_cost,
        "of_step",
        lambda config, name, size: step_cost.StepCost(1000, 1e9 * size, 1e6 * size, 1e6 * size, 10),
    )


def test_a_plan_says_cost_memory_time_and_assumptions(config):
    lines = list(plan_run.plan(config, "v5e-8", 1000))
    text = "\n".join(lines)
    for pattern in (
        r"network: [\d,]+ parameters",
        r"a step of 8 pictures: [\d.e-]+ TFLOP, [\d.e-]+ GB of memory traffic",
        r"memory: [\d.e-]+ GB on each of 8 device\(s\); largest batch that fits 16 GB: \d+",
        r"time: [\d.e-]+ s a step \([\d.e+]+ steps/s\), .* all-reduce [\d.e-]+ s",
        r"training: 24 steps, [\d.e-]+ days",
        r"assumed: 40% of the peak operations and 70% of the peak bandwidth, rates of the data",
    ):
        assert re.search(pattern, text), pattern


@pytest.mark.slow
def test_the_plan_of_this_machine_is_compared_with_measured_steps(config):
    *_, last = plan_run.plan(config, "cpu", 1000)
    assert re.fullmatch(
        r"measured: [\d.e-]+ s a step, median of 5 \(.*\); the plan is off by [+-][\d,]+%", last
    )


def test_epochs_are_counted_in_the_pictures_given(config, nothing_is_compiled):
    config.train.steps, config.train.epochs = 0, 3
    assert any(
        line.startswith("training: 150 steps") for line in plan_run.plan(config, "a100", 400)
    )


@pytest.mark.slow
def test_a_refinement_is_planned_beside_the_training(config):
    config.refine.enabled = True
    config.refine.sampler_steps, config.refine.batch_size, config.refine.steps = 3, 4, 10
    text = "\n".join(plan_run.plan(config, "a100", 100))
    train, refine = re.findall(r"a step of \d pictures.*?: ([\d.e-]+) TFLOP", text)
    # Of each of 3 solver steps the network's result is computed twice, and its gradient, which
    # costs twice as much; training computes the result once.
    assert float(refine) / float(train) == pytest.approx(3 * 4 / 8 * 4 / 3, rel=0.15)
    assert "a step of 4 pictures through K = 3 solver steps" in text
    assert re.search(r"^refinement: 10 steps, .*\nboth: [\d.e-]+ days", text, re.MULTILINE)


def test_a_batch_that_does_not_divide_is_refused(config):
    with pytest.raises(ValueError, match=r"is 8, not divisible by 3 devices; set train\.batch"):
        next(plan_run.plan(config, "h100x3", 100))
    config.refine.enabled, config.refine.batch_size = True, 2
    with pytest.raises(ValueError, match=r"refine\.accumulate is 2, not divisible by 8 devices"):
        next(plan_run.plan(config, "h100x8", 100))
    with pytest.raises(ValueError, match="--device is 'x100'"):
        next(plan_run.plan(config, "x100", 100))


def test_what_does_not_fit_is_said(config, monkeypatch, nothing_is_compiled):
    monkeypatch.setattr(plan_run.forecast, "USABLE_MEMORY", 1e-9)
    lines = list(plan_run.plan(config, "h100x8", 100))
    assert any("DOES NOT FIT: raise train.accumulate" in line for line in lines)
