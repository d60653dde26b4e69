"""SCFT's two networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.models import scft, unet

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = jax.random.key(0)


def _network(**changes):
    sizes = {"base_channels": 4, "channel_multipliers": (1, 2, 4), "num_groups": 2}
    return scft.SCFT(**(sizes | {"num_res_blocks": 1} | changes))


@pytest.fixture(scope="module")
def drawn():
    """A network, its parameters and an input of 16 px."""
    network = _network()
    x = jax.random.uniform(KEY, (2, 16, 16, 7), minval=-1.0)
    return network, jax.jit(network.init)(KEY, x, jnp.zeros(2))["params"], x


@pytest.mark.parametrize(
    ("height", "width", "multipliers"),
    [(32, 32, (1, 2, 4)), (24, 40, (1, 2)), (256, 256, (1, 2, 2, 4))],
)
def test_shapes_at_all_sizes(height, width, multipliers):
    network = _network(channel_multipliers=multipliers)
    x = jax.ShapeDtypeStruct((2, height, width, 7), jnp.float32)
    variables = jax.eval_shape(network.init, KEY, x, jnp.zeros(2))
    assert set(variables["params"]) == {"generator", "discriminator"}
    cell = 2 ** (len(multipliers) - 1)
    cells = (height // cell) * (width // cell)

    def call(method, *arguments):
        return jax.eval_shape(
            lambda v, *a: network.apply(v, *a, method=method), variables, *arguments
        )

    assert call("__call__", x, jnp.zeros(2)).shape == (2, height, width, 3)
    sketch, image = (jax.ShapeDtypeStruct((2, height, width, c), jnp.float32) for c in (1, 3))
    coloured, scores = call("colour", sketch, image)
    assert coloured.shape == image.shape and scores.shape == (2, cells, cells)
    verdicts = call("discriminate", image, sketch)
    assert verdicts.shape == (2, height // cell, width // cell, 1)


def test_pictures_are_in_range_and_follow_sketch_and_reference_alone(drawn):
    network, params, x = drawn
    apply = jax.jit(network.apply)
    image = apply({"params": params}, x, jnp.zeros(2))
    assert np.abs(image).max() <= 1 and image.std() > 0.01
    noise = x.at[..., :3].set(9.0)
    np.testing.assert_array_equal(apply({"params": params}, noise, jnp.ones(2)), image)
    for channel in (scft.SKETCH, scft.REFERENCE):
        other = apply({"params": params}, x.at[..., channel].multiply(-1.0), jnp.zeros(2))
        assert np.abs(other - image).max() > 1e-3


def test_the_colour_of_a_plain_reference_is_seen(drawn):
    """Normalisation in the encoders would make all plain references alike."""
    network, params, x = drawn
    colours = [x.at[..., scft.REFERENCE].set(value) for value in (-0.5, 0.5)]
    apply = jax.jit(network.apply)
    first, second = (apply({"params": params}, colour, jnp.zeros(2)) for colour in colours)
    assert np.abs(first - second).max() > 1e-2


def test_attention_is_a_weighted_mean_of_the_reference():
    transfer = scft.FeatureTransfer()
    sketch, reference = jax.random.normal(KEY, (2, 1, 6, 5))
    params = transfer.init(KEY, sketch, reference)["params"]
    result, scores = transfer.apply({"params": params}, sketch, reference)
    kernels = {name: np.float64(params[name]["kernel"]) for name in ("query", "key", "value")}
    products = (sketch[0] @ kernels["query"]) @ (reference[0] @ kernels["key"]).T / 5**0.5
    np.testing.assert_allclose(scores[0], products, atol=1e-5)
    weights = np.exp(products) / np.exp(products).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(
        result[0], sketch[0] + weights @ reference[0] @ kernels["value"], atol=1e-5
    )


def test_attention_finds_an_identical_feature():
    """With equal projections, and features that are told apart easily, each finds itself."""
    transfer = scft.FeatureTransfer()
    features = 30 * jnp.eye(8)[None]
    eye = {"kernel": jnp.eye(8)}
    order = np.array([3, 1, 0, 2, 7, 5, 4, 6])
    params = {"query": eye, "key": eye, "value": eye}
    result, scores = transfer.apply({"params": params}, features, features[:, order])
    np.testing.assert_array_equal(order[scores[0].argmax(axis=1)], np.arange(8))
    np.testing.assert_allclose(result, 2 * features, atol=1e-4)


def test_bfloat16_is_close_and_keeps_float32_where_it_matters(drawn):
    network, params, x = drawn
    low = network.clone(dtype=jnp.bfloat16)
    halves = x[..., scft.SKETCH], x[..., scft.REFERENCE]

    def call(network, method, *arguments):
        apply = functools.partial(network.apply, method=method)
        return jax.jit(apply)({"params": params}, *arguments)

    image, scores = call(low, "colour", *halves)
    expected, _ = call(network, "colour", *halves)
    np.testing.assert_allclose(image, expected, atol=0.1)
    verdicts = call(low, "discriminate", image, halves[0])
    assert image.dtype == scores.dtype == verdicts.dtype == jnp.float32
    variables = jax.eval_shape(low.init, KEY, x, jnp.zeros(2))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_it_has_half_of_the_u_nets_parameters_at_equal_widths():
    sizes = {"base_channels": 32, "channel_multipliers": (1, 2, 4)}
    x = jnp.zeros((1, 32, 32, 7))
    counts = []
    for network in (scft.SCFT(**sizes), unet.UNet(**sizes)):
        shapes = jax.eval_shape(network.init, KEY, x, jnp.zeros(1))
        counts.append(sum(leaf.size for leaf in jax.tree.leaves(shapes)))
    assert counts == [1_843_620, 3_326_307]
