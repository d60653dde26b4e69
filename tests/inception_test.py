"""The Inception network against torch-fidelity's, and its file of weights."""

import json

import jax
import numpy as np
import pytest

from ssimbad_jax.models import inception
from tests import golden_network, torch_files

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def weights(golden):
    """The defined weights, with the two exceptions of golden/README.md."""
    shapes = json.loads((golden / "inception.json").read_text())
    values = golden_network.defined_weights(shapes)
    for name, value in values.items():
        if value.ndim > 1:
            value *= np.float32(1.4)
        if name.endswith("running_var"):
            value[:] = 1 + np.abs(value)
    return values


def test_features_equal_torch_fidelity(golden, weights):
    expected = np.load(golden / "inception.npz")
    variables = inception.from_official(weights)
    features = jax.jit(inception.Inception().apply)(variables, expected["images"] / np.float32(255))
    assert sorted(features) == [64, 192, 768, inception.NUM_FEATURES]
    for count, found in features.items():
        assert found.shape == (2, count)
        if count != 64:
            golden_network.assert_close(found, expected[f"features{count}"], 1e-4)


def test_only_the_classifier_is_left_out(weights):
    assert set(weights) - set(inception.official_shapes()) == {"fc.weight", "fc.bias"}


def test_resizing_keeps_the_upper_left_corner_and_does_not_smooth():
    images = np.random.default_rng(0).random((1, 5, 8, 2), np.float32)
    found = inception.resize_like_tensorflow_1(images, 10)
    np.testing.assert_allclose(found[:, ::2, 0], images[:, :, 0], atol=1e-6)
    np.testing.assert_allclose(found[:, 1, 0], images[:, :2, 0].mean(axis=1), atol=1e-6)
    # Behind the last pixel there is nothing to mix with.
    np.testing.assert_allclose(found[:, 9, 0], images[:, 4, 0], atol=1e-6)
    # Column 3 looks at 3 * 8 / 10 = 2.4.
    expected = 0.6 * images[:, 0, 2] + 0.4 * images[:, 0, 3]
    np.testing.assert_allclose(found[:, 0, 3], expected, atol=1e-6)
    np.testing.assert_allclose(
        inception.resize_like_tensorflow_1(images[:, :, :5], 5), images[:, :, :5]
    )


@pytest.mark.parametrize("ending", ["npz", "pth"])
def test_both_kinds_of_files_are_read(weights, tmp_path, ending):
    path = tmp_path / f"weights.{ending}"
    if ending == "npz":
        np.savez(path, **weights)
    else:
        torch_files.write_zip(path, weights)
    loaded, expected = inception.load(path), inception.from_official(weights)
    jax.tree.map(np.testing.assert_array_equal, loaded, expected)


def test_what_does_not_fit_is_named(weights, tmp_path):
    name = "Mixed_6c.branch7x7_2.conv.weight"
    with pytest.raises(ValueError, match=rf"1 of 470 arrays are missing, among them '{name}'"):
        inception.from_official({key: weights[key] for key in weights if key != name})
    with pytest.raises(ValueError, match=rf"'{name}' has shape \(160, 160, 7, 1\), expected"):
        inception.from_official({**weights, name: weights[name].transpose(0, 1, 3, 2)})
    with pytest.raises(FileNotFoundError, match=r"none.pth' are no file"):
        inception.load(tmp_path / "none.pth")
    for ending in ("npz", "pth"):
        (tmp_path / f"bad.{ending}").write_bytes(b"<html>not found</html>")
        with pytest.raises(ValueError, match=rf"weights .*bad.{ending}' cannot be used: "):
            inception.load(tmp_path / f"bad.{ending}")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"other.npz' cannot be used: 470 of 470 arrays"):
        inception.load(tmp_path / "other.npz")
