"""The picture of the sampler at work."""

import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.diffusion import samplers
from ssimbad_jax.stages import denoising_strip, pictures

SIZE = 64  # cells are enlarged by two


def make_passed(steps, images=2):
    sigmas = np.geomspace(80, 0.002, steps).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal((images, SIZE, SIZE, 3))
    states = np.stack([np.hypot(sigma, 0.5) * noise for sigma in sigmas]).astype(np.float32)
    levels = np.linspace(-1, 1, steps + 1, dtype=np.float32)[1:]
    denoised = np.broadcast_to(levels[:, None, None, None, None], states.shape)
    return samplers.Passed(sigmas, states, denoised)


@pytest.mark.parametrize(("steps", "columns"), [(1, 1), (3, 3), (50, 8)])
def test_states_and_what_is_seen_in_them_alternate(steps, columns, tmp_path):
    sketch = np.full((2, SIZE, SIZE), 7, np.uint8)
    reference = np.full((2, SIZE, SIZE, 3), 9, np.uint8)
    path = tmp_path / "strip.png"
    denoising_strip.save(path, make_passed(steps), sketch, reference, sigma_data=0.5)
    strip = np.asarray(PIL.Image.open(path))[pictures.TITLE_HEIGHT :: 2, ::2]
    cells = strip.reshape(4, SIZE, columns + 1, SIZE, 3).swapaxes(1, 2)
    assert (cells[0::2, 0] == 7).all() and (cells[1::2, 0] == 9).all()
    # Whatever its noise, a state is shown with the images' spread: 0.5 of [-1, 1], clipped.
    spread = cells[0::2, 1:].std(axis=(0, 2, 3, 4))
    np.testing.assert_allclose(spread, spread[0], rtol=0.01)
    assert 50 < spread[0] < 64
    seen = cells[1::2, 1:, 0, 0, 0].astype(int)
    assert (np.diff(seen, axis=1) > 0).all()
    np.testing.assert_array_equal(seen[:, -1], 255)
