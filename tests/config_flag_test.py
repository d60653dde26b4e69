"""Overrides of configs; `main_test` has the refusals as users see them."""

import pytest

from configs import quickstart
from ssimbad_jax import config_flag


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("stepz", ("stepz", "did you mean 'steps'?")),
        ("quite_another", ("quite_another", "see configs/edm_ssimbad.py")),
    ],
)
def test_an_unknown_field_is_named_with_the_one_that_was_meant(field, expected):
    with pytest.raises((AttributeError, KeyError)) as refusal:
        getattr(quickstart.get_config().train, field)
    assert config_flag.unknown_field(refusal.value) == expected
