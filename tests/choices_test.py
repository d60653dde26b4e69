"""What flags offer is what the tables hold."""

from ssimbad_jax import choices
from ssimbad_jax.stages import official_config, run, solvers, weights


def test_flags_offer_what_the_tables_hold():
    assert tuple(run.STAGES) == choices.STAGES
    assert tuple(solvers.SOLVERS) == choices.SAMPLERS
    assert ("auto", *weights.FOLDERS) == choices.WEIGHTS
    assert ("auto", *official_config.METHODS) == choices.METHODS
