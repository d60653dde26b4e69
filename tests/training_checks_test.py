"""Trainings that cannot work; more of them in validation_test and refine_test."""

import pytest

from ssimbad_jax.configs import edm_ssimbad
from ssimbad_jax.stages import training_checks


def test_the_papers_trainings_can_work():
    assert list(training_checks.problems(edm_ssimbad.get_config(), 8, 1, True)) == []


@pytest.mark.parametrize("section", training_checks.SECTIONS)
@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"steps": 0, "epochs": 0}, "{0}.steps and {0}.epochs are both 0; set one of them"),
        ({"learning_rate": 1e-9, "final_learning_rate": 1.0}, "{0}.final_learning_rate is 1.0, ab"),
        ({"steps": 5, "warmup_steps": 5}, "{0}.warmup_steps is 5, not less than {0}.steps = 5"),
        ({"accumulate": 3}, "{0}.batch_size is "),
    ],
)
def test_both_trainings_are_held_to_the_same(section, fields, problem):
    config = edm_ssimbad.get_config()
    config[section].update(fields)
    (found,) = training_checks.problems(config, 1, 1, True)
    assert found.startswith(problem.format(section))
