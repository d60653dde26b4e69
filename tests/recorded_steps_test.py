import json

import numpy as np
import pytest

from tests import recorded_steps

pytestmark = [pytest.mark.core, pytest.mark.slow]


def test_twenty_steps_are_those_recorded(tmp_path):
    expected = json.loads(recorded_steps.FILE.read_text())
    found = recorded_steps.measure(tmp_path)
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-4)
    assert list(found["parameters"]) == list(expected["parameters"])
    for name, parameter in expected["parameters"].items():
        now = found["parameters"][name]
        assert now["size"] == parameter["size"]
        assert now["norm"] == pytest.approx(parameter["norm"], rel=1e-4), name
        # A mean is as certain as the entries it is made of.
        entry = parameter["norm"] / parameter["size"] ** 0.5
        assert now["mean"] == pytest.approx(parameter["mean"], rel=1e-4, abs=1e-4 * entry), name
