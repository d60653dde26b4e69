"""Guidance, on Gaussian toy problems whose guided results are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.diffusion import guidance, samplers

SPREADS = (1.0, 0.5, 0.2)  # standard deviations of the data: told nothing, one condition, both
MEANS = (0.0, 0.4, 0.9)
GRID = np.append(np.geomspace(80.0, 0.002, 120), 0.0)


def gaussian(mean, spread):
    """The denoiser of data N(mean, spread^2): a linear function of x."""

    def denoise(noisy, sigma):
        share = (spread**2 / (spread**2 + sigma**2))[:, None, None, None]
        return mean + share * (noisy - mean)

    return denoise


ESTIMATES = [gaussian(mean, spread) for mean, spread in zip(MEANS, SPREADS, strict=True)]


def inputs(sigma=0.7):
    noisy = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    return noisy, jnp.full((2,), sigma)


def calls_of(denoise_of, noisy, sigma):
    """How often each estimate is called when what `denoise_of` builds of them is run."""
    calls = [0] * len(ESTIMATES)

    def counted(index):
        def denoise(noisy, sigma):
            def count():
                calls[index] += 1

            jax.debug.callback(count)
            return ESTIMATES[index](noisy, sigma)

        return denoise

    with jax.default_device(jax.devices()[0]):
        jax.jit(denoise_of([counted(index) for index in range(len(ESTIMATES))]))(noisy, sigma)
        jax.effects_barrier()
    return calls


@pytest.mark.parametrize("scales", [(1.0, 1.0), (2.5, 1.0), (1.0, 3.0), (0.0, 4.0), (1.5, 2.5)])
def test_classifier_free_guidance_is_the_sum_of_scaled_differences(scales):
    noisy, sigma = inputs()
    nothing, one, both = (estimate(noisy, sigma) for estimate in ESTIMATES)
    expected = nothing + scales[0] * (one - nothing) + scales[1] * (both - one)
    guided = guidance.classifier_free(ESTIMATES, scales)
    np.testing.assert_allclose(guided(noisy, sigma), expected, rtol=1e-5, atol=1e-6)


def test_a_single_condition_is_extrapolated_from_none():
    noisy, sigma = inputs()
    nothing, both = ESTIMATES[0](noisy, sigma), ESTIMATES[2](noisy, sigma)
    guided = guidance.classifier_free([ESTIMATES[0], ESTIMATES[2]], [3.0])
    np.testing.assert_allclose(guided(noisy, sigma), 3 * both - 2 * nothing, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("scales", "used"), [((1.0, 1.0), 2), ((1.0, 0.0), 1), ((0.0, 0.0), 0)])
def test_scales_that_leave_one_estimate_return_it_as_it_is(scales, used):
    assert guidance.classifier_free(ESTIMATES, scales) is ESTIMATES[used]


@pytest.mark.parametrize(
    ("scales", "expected"),
    [
        ((1.0, 1.0), [0, 0, 1]),
        ((1.0, 2.0), [0, 1, 1]),
        ((2.0, 1.0), [1, 1, 1]),
        ((2.0, 3.0), [1, 1, 1]),
        ((2.0, 2.0), [1, 0, 1]),  # the estimate between cancels
    ],
)
def test_only_estimates_that_count_are_made(scales, expected):
    assert sum(guidance.weights(scales)) == pytest.approx(1.0)
    assert [int(weight != 0) for weight in guidance.weights(scales)] == expected
    calls = calls_of(lambda estimates: guidance.classifier_free(estimates, scales), *inputs())
    assert calls == expected


def test_scales_and_estimates_have_to_fit():
    with pytest.raises(ValueError, match="zip"):
        guidance.classifier_free(ESTIMATES, [2.0])


@pytest.mark.parametrize("scale", [1.0, 2.0, 3.5])
def test_guided_samples_of_a_gaussian_are_where_they_should_be(scale):
    """With equal spreads the guided field is that of a Gaussian around the extrapolated mean."""
    told_nothing, told = gaussian(0.1, 0.3), gaussian(0.5, 0.3)
    guided = guidance.classifier_free([told_nothing, told], [scale])
    noise, _ = inputs()
    mean = 0.1 + scale * (0.5 - 0.1)
    # dx/dsigma = (x - D) / sigma is linear; its exact solution from sigma_max to 0 is known.
    start = GRID[0] * noise
    expected = mean + (start - mean) * 0.3 / np.sqrt(0.3**2 + GRID[0] ** 2)
    result = samplers.heun(guided, noise, GRID)
    np.testing.assert_allclose(result, expected, atol=2e-3)


@pytest.mark.parametrize(
    ("sigma", "is_guided"),
    [(0.1, False), (0.2, True), (0.7, True), (5.0, True), (5.1, False), (80.0, False)],
)
def test_between_two_noise_levels_only(sigma, is_guided):
    noisy, sigma = inputs(sigma)

    def denoise_of(estimates):
        guided = guidance.classifier_free(estimates, (1.0, 2.0))
        return guidance.between(guided, estimates[2], 0.2, 5.0)

    result = jax.jit(denoise_of(ESTIMATES))(noisy, sigma)
    one, both = ESTIMATES[1](noisy, sigma), ESTIMATES[2](noisy, sigma)
    expected = 2 * both - one if is_guided else both
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
    # Elsewhere the other estimate is not even made.
    assert calls_of(denoise_of, noisy, sigma) == [0, int(is_guided), 1]


def test_a_loss_pulls_the_denoised_image_towards_its_minimum():
    noisy, sigma = inputs()
    target = jax.random.normal(jax.random.key(1), noisy.shape)

    def loss(image):
        return 0.5 * jnp.sum((image - target) ** 2, axis=(1, 2, 3))

    plain = ESTIMATES[2](noisy, sigma)
    for scale in (0.0, 0.3, 1.0):
        guided = guidance.loss_guided(ESTIMATES[2], loss, scale)
        expected = plain + scale * (target - plain)
        np.testing.assert_allclose(guided(noisy, sigma), expected, rtol=1e-5, atol=1e-6)


def test_a_loss_of_one_picture_leaves_the_others_alone():
    noisy, sigma = inputs()

    def loss(image):
        return jnp.sum(image**4, axis=(1, 2, 3)) * jnp.array([1.0, 0.0])

    guided = guidance.loss_guided(ESTIMATES[2], loss, 0.1)(noisy, sigma)
    plain = ESTIMATES[2](noisy, sigma)
    np.testing.assert_allclose(guided[0], (plain - 0.4 * plain**3)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(guided[1], plain[1])
