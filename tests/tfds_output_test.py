"""TFDS is silent where asked, and only there."""

import pytest
from absl import logging

from ssimbad_jax.data import tfds_output


def test_silent_inside_and_as_before_outside(capsys):
    before = logging.get_verbosity()
    with tfds_output.quiet():
        print("step 1 of 100")
        assert logging.get_verbosity() == logging.ERROR
    print("done")
    assert capsys.readouterr().out == "done\n"
    assert logging.get_verbosity() == before


def test_errors_pass_and_leave_no_silence(capsys):
    with pytest.raises(ValueError, match="broken"), tfds_output.quiet():
        raise ValueError("broken")
    print("heard")
    assert capsys.readouterr().out == "heard\n"
