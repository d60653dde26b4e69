"""The terms of SCFT's loss, against loops in NumPy, and where their gradients go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.data import warp
from ssimbad_jax.diffusion import scft_losses

pytestmark = pytest.mark.usefixtures("quick_compilation")

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def test_absolute_error_is_the_mean_of_each_image():
    a, b = normal(2, 4, 5, 3), normal(2, 4, 5, 3)
    np.testing.assert_allclose(
        scft_losses.absolute_error(a, b), [np.abs(a[i] - b[i]).mean() for i in range(2)], rtol=1e-5
    )


def test_gram_matrices_are_products_of_channels():
    x = normal(2, 3, 4, 5)
    expected = np.zeros((2, 5, 5))
    for image, row, column in np.ndindex(2, 3, 4):
        pixel = np.float64(x[image, row, column])
        expected[image] += np.outer(pixel, pixel) / (3 * 4 * 5)
    np.testing.assert_allclose(scft_losses.gram_matrix(x), expected, atol=1e-6)


def test_style_does_not_know_where_things_are_and_perception_does():
    features = [normal(2, 4, 4, 3), normal(2, 2, 2, 6)]
    moved = [x[:, ::-1, ::-1] for x in features]
    np.testing.assert_allclose(scft_losses.style_loss(features, moved), 0.0, atol=1e-6)
    assert scft_losses.perceptual_loss(features, moved).min() > 0.1
    others = [normal(*x.shape) for x in features]
    assert scft_losses.style_loss(features, others).min() > 0.01
    expected = sum(
        np.abs(a - b).mean(axis=(1, 2, 3)) for a, b in zip(features, others, strict=True)
    )
    np.testing.assert_allclose(scft_losses.perceptual_loss(features, others), expected, rtol=1e-5)


def test_each_side_of_the_game_gets_its_own_gradient_alone():
    """Against the gradients of the two losses of an alternating training."""
    image, target, sketch = (jnp.asarray(normal(3, 4, 4, c)) for c in (3, 3, 1))
    params = {"generator": jnp.float32(0.7), "discriminator": jnp.float32(0.4)}

    def judge(weight, image, sketch):
        return jnp.tanh(weight * image.sum(axis=-1, keepdims=True) + sketch)

    def both(params):
        weight = params["discriminator"]
        of_generator, of_discriminator = scft_losses.adversarial_losses(
            params["generator"] * image,
            target,
            sketch,
            lambda *inputs: judge(weight, *inputs),
            lambda *inputs: judge(jax.lax.stop_gradient(weight), *inputs),
        )
        return (of_generator + of_discriminator).mean()

    def of_generator(scale):
        verdicts = judge(params["discriminator"], scale * image, sketch)
        return ((verdicts - 1) ** 2).mean()

    def of_discriminator(weight):
        fake = judge(weight, params["generator"] * image, sketch)
        real = judge(weight, target, sketch)
        return 0.5 * ((fake**2).mean() + ((real - 1) ** 2).mean())

    gradient = jax.jit(jax.grad(both))(params)
    expected = jax.jit(jax.grad(of_generator))(params["generator"])
    np.testing.assert_allclose(gradient["generator"], expected, rtol=1e-5)
    expected = jax.jit(jax.grad(of_discriminator))(params["discriminator"])
    np.testing.assert_allclose(gradient["discriminator"], expected, rtol=1e-5)
    value = of_generator(params["generator"]) + of_discriminator(params["discriminator"])
    np.testing.assert_allclose(both(params), value, rtol=1e-6)


def test_the_triplet_loss_is_the_mean_over_all_negatives():
    scores, margin = np.float32(3) * normal(2, 5, 7), 2.0
    weights = np.maximum(normal(2, 5, 7) - np.float32(0.8), 0)
    weights[0, 1] = 0  # a place that the reference does not show
    expected = np.zeros(2)
    for image in range(2):
        losses = []
        for query in range(5):
            shown = weights[image, query]
            if shown.sum() == 0:
                continue
            positive = (shown * scores[image, query]).sum() / shown.sum()
            excesses = [
                max(0.0, margin - positive + scores[image, query, key])
                for key in range(7)
                if shown[key] == 0
            ]
            losses.append(np.mean(excesses))
        expected[image] = np.mean(losses)
    np.testing.assert_allclose(
        scft_losses.triplet_loss(jnp.asarray(scores), jnp.asarray(weights), margin),
        expected,
        rtol=1e-5,
    )


def test_the_triplet_loss_is_zero_where_all_is_well_or_nothing_is_known():
    right = np.eye(4, dtype=np.float32)[None]
    assert scft_losses.triplet_loss(12.5 * right, right, 12.0) == 0
    assert scft_losses.triplet_loss(11.5 * right, right, 12.0) == pytest.approx(0.5)
    nothing = jnp.zeros_like(right)
    loss, slope = jax.value_and_grad(lambda s: scft_losses.triplet_loss(s, nothing, 12.0).sum())(
        jnp.asarray(right)
    )
    assert loss == 0 and not slope.any()


def test_cells_of_an_unmoved_picture_show_themselves():
    x, y = np.meshgrid(np.arange(12.0), np.arange(8.0))
    still = np.stack([x, y], axis=-1)[None].astype(np.float32)
    np.testing.assert_allclose(
        scft_losses.correspondence_weights(still, 4)[0], np.eye(6), atol=1e-6
    )
    # Moved by half of a cell to the right, each shows two; by a whole picture, none.
    moved = scft_losses.correspondence_weights(still + np.float32([2.0, 0.0]), 4)[0]
    np.testing.assert_allclose(moved[:, 0], [0.5, 0.5, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(moved[:, 2], [0, 0, 0.5, 0, 0, 0], atol=1e-6)
    assert not scft_losses.correspondence_weights(still + np.float32(99.0), 4).any()


def _folds(key, kind):
    """Whether a warp looks some part of the picture up mirrored, as the paper's often do."""
    x, y = np.moveaxis(np.asarray(warp.random_warp_map(key, 1, 64, 64, kind))[0], -1, 0)
    (x_down, x_across), (y_down, y_across) = np.gradient(x), np.gradient(y)
    return bool((x_across * y_down - x_down * y_across <= 0.3).any())


@pytest.mark.parametrize("kind", warp.KINDS)
def test_correspondence_says_what_the_warp_did(kind):
    """Moved along the correspondence, the cells of a picture are those of its warped self."""
    y, x = np.mgrid[0:64, 0:64] / 64
    image = np.stack([x, y, (x + y) / 2], axis=-1)[None].astype(np.float32)

    @jax.jit
    def warp_and_tell(key, image):
        warp_map = warp.random_warp_map(key, 1, 64, 64, kind)
        weights = scft_losses.correspondence_weights(warp_map, 4)
        return warp.warped(image, warp_map, kind), weights, warp_map

    key = next(key for key in map(jax.random.key, range(99)) if not _folds(key, kind))
    reference, weights, warp_map = jax.tree.map(np.asarray, warp_and_tell(key, image))
    cells, of_reference = (
        x[0].reshape(16, 4, 16, 4, 3).mean(axis=(1, 3)).reshape(256, 3) for x in (image, reference)
    )
    is_inside = ((warp_map[0] >= 0) & (warp_map[0] <= 63)).all(axis=-1)
    whole = is_inside.reshape(16, 4, 16, 4).all(axis=(1, 3)).reshape(256)
    seen = whole & (weights[0].sum(axis=0) > 0.999)
    assert seen.mean() > 0.6
    np.testing.assert_allclose((weights[0].T @ cells)[seen], of_reference[seen], atol=0.02)
