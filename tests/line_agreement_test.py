"""How well fine structure agrees with a line drawing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from ssimbad_jax.metrics import line_agreement


@pytest.fixture(scope="module")
def drawing():
    """A circle drawn on paper, and colours that have its line."""
    y, x = np.mgrid[0:24, 0:24]
    distance = np.abs(np.hypot(x - 11, y - 13) - 7)
    sketch = (2 * np.clip(distance, 0, 1) - 1)[None, ..., None].astype(np.float32)
    colours = np.stack([x / 24, y / 24, (x + y) / 48], axis=-1)[None].astype(np.float32)
    return jnp.asarray(colours + 0.2 * sketch), jnp.asarray(sketch)


def test_agreement_is_the_correlation_of_what_a_blur_takes_away(drawing):
    image, sketch = drawing
    image = image + 0.1 * jax.random.normal(jax.random.key(0), image.shape)

    def fine(picture):
        blurred = scipy.ndimage.gaussian_filter(
            picture, line_agreement.SIGMA, truncate=3.0, mode="mirror"
        )
        return (picture - blurred).ravel()

    grey = np.asarray(image[0].sum(axis=-1), np.float64)
    expected = np.corrcoef(fine(grey), fine(np.asarray(sketch[0, ..., 0], np.float64)))[0, 1]
    assert 0.3 < expected < 0.95
    np.testing.assert_allclose(line_agreement.line_agreement(image, sketch), [expected], rtol=1e-4)


def test_agreement_tells_the_same_lines_from_none_and_from_their_negative(drawing):
    image, sketch = drawing
    lines = jnp.broadcast_to(sketch, image.shape)
    agreement = line_agreement.line_agreement
    np.testing.assert_allclose(agreement(lines, sketch), 1.0, atol=1e-4)
    np.testing.assert_allclose(agreement(0.5 * lines + 3, sketch), 1.0, atol=1e-4)
    np.testing.assert_allclose(agreement(-lines, sketch), -1.0, atol=1e-4)
    assert agreement(image, sketch) > 0.9
    assert abs(float(agreement(jnp.roll(image, 8, axis=2), sketch)[0])) < 0.3


def test_blank_paper_asks_for_nothing_new(drawing):
    image, sketch = drawing
    for shown, drawn in ((image, jnp.ones_like(sketch)), (jnp.zeros_like(image), sketch)):
        assert abs(float(line_agreement.line_agreement(shown, drawn)[0])) < 1e-3
        gradient = jax.grad(lambda x, s: line_agreement.line_distance(x, s).sum())(shown, drawn)
        assert np.isfinite(gradient).all()


def test_a_step_down_the_gradient_raises_the_agreement_and_keeps_colours(drawing):
    _, sketch = drawing
    image = jax.random.uniform(jax.random.key(1), (1, 24, 24, 3))
    gradient = jax.grad(lambda x: line_agreement.line_distance(x, sketch).sum())(image)
    agreements = [
        float(line_agreement.line_agreement(image - scale * gradient, sketch)[0])
        for scale in (0.0, 0.1, 0.3, 1.0)
    ]
    assert agreements == sorted(agreements)
    assert agreements[0] < 0.2 and agreements[-1] > 0.8
    # Along grey: differences between the channels do not change.
    np.testing.assert_allclose(np.diff(gradient, axis=-1), 0.0, atol=1e-6)


def test_each_picture_of_a_batch_counts_alone(drawing):
    image, sketch = drawing
    images = jnp.concatenate([image, -image, 2 * image])
    sketches = jnp.concatenate([sketch] * 3)
    for measure in (line_agreement.line_agreement, line_agreement.line_distance):
        alone = [measure(images[i : i + 1], sketch)[0] for i in range(3)]
        np.testing.assert_allclose(measure(images, sketches), jnp.stack(alone), rtol=1e-5)


def test_the_blur_is_of_full_precision_whatever_the_default(drawing):
    def distance(image):
        return line_agreement.line_distance(image, drawing[1]).sum()

    with jax.default_matmul_precision("bfloat16"):
        program = str(jax.make_jaxpr(jax.value_and_grad(distance))(drawing[0]))
    convolutions = program.split("conv_general_dilated[")[1:]
    assert len(convolutions) >= 6  # along two axes: image, sketch, gradient
    assert all(
        text.split("precision=")[1].startswith("(Precision.HIGHEST, Precision.HIGHEST)")
        for text in convolutions
    )


def test_shapes_that_do_not_fit_are_refused(drawing):
    image, sketch = drawing
    for shown, drawn in ((image, image), (image[0], sketch), (image, sketch[:, :12])):
        with pytest.raises(ValueError, match=r"\[B, H, W, 3\] and a sketch"):
            line_agreement.line_distance(shown, drawn)
