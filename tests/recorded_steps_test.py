import json

import numpy as np
import pytest

from tests import recorded_steps

pytestmark = [pytest.mark.core, pytest.mark.slow]

# Root mean square of an entry, below which a bias has only moved by rounding: GroupNorm with one
# channel a group takes it away again, its gradient is zero, and AdamW scales what is left.
_ROUNDING = 1e-4
# By which an entry may differ: biases that began at zero have moved by 5e-4 so far.
_ENTRY = 1e-6


def test_twenty_steps_are_those_recorded(tmp_path):
    expected = json.loads(recorded_steps.FILE.read_text())
    found = recorded_steps.measure(tmp_path)
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-4)
    assert list(found["parameters"]) == list(expected["parameters"])
    compared = 0
    for name, parameter in expected["parameters"].items():
        now, root = found["parameters"][name], parameter["size"] ** 0.5
        assert now["size"] == parameter["size"], name
        if parameter["norm"] / root < _ROUNDING:
            assert name.endswith("/bias") and now["norm"] / root < _ROUNDING, name
            continue
        compared += 1
        assert now["norm"] == pytest.approx(parameter["norm"], rel=1e-4, abs=_ENTRY * root), name
        assert now["mean"] == pytest.approx(parameter["mean"], rel=1e-4, abs=_ENTRY), name
    assert compared > 180
