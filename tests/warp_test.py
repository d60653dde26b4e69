import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ssimbad_jax.data import warp

_HIGH_PRECISION_PIXELS = 0.01  # at 256 px; the golden values ask for 0.05

# Compiled as in training; op by op each call would take seconds.
_paper_warp_map = jax.jit(warp.paper_warp_map, static_argnums=(2, 3))
_natural_warp_map = jax.jit(warp.natural_warp_map, static_argnums=(3, 4))
_random_warp_map = jax.jit(warp.random_warp_map, static_argnums=(1, 2, 3, 4))
_sample_bilinear = jax.jit(warp.sample_bilinear, static_argnums=2)
_random_warp = jax.jit(lambda *arguments: warp.random_warp(*arguments)[0], static_argnums=2)


def _pictures(batch=3, height=40, width=56):
    pictures = np.random.default_rng(0).uniform(-1, 1, (batch, height, width, 3))
    return np.float32(pictures)


def _unit_grid(height, width):
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.stack([x, y], axis=-1)


def _jacobian(warp_map):
    """Determinants of forward differences, [B, H - 1, W - 1]."""
    along_x = np.diff(warp_map, axis=2)[:, :-1]
    along_y = np.diff(warp_map, axis=1)[:, :, :-1]
    return along_x[..., 0] * along_y[..., 1] - along_x[..., 1] * along_y[..., 0]


def test_paper_equals_the_official_warp(shared):
    stored = np.load(shared / "golden/tps.npz")
    first_start, first_shift, second_start, second_shift = stored["params_p1_r1_p2_r2"].T
    start = np.stack([first_start, second_start], axis=1)
    shift = np.stack([first_shift, second_shift], axis=1)
    warp_map = _paper_warp_map(start, shift, 128, 128)
    np.testing.assert_allclose(warp_map, stored["map_xy"], atol=0.05)

    image = jnp.asarray(stored["images"], jnp.float32) / 127.5 - 1
    warped = np.rint((np.asarray(_sample_bilinear(image, warp_map)) + 1) * 127.5)
    assert np.mean(np.abs(warped - stored["warped_bilinear"]) <= 2) >= 0.999


@pytest.mark.parametrize(
    ("start", "shift"),
    [
        ((0.35, 0.62), (0.2, -0.11)),
        ((0.38, 0.62), (0.10, -0.15)),  # the points end 0.01 apart, the worst for float32
        ((0.70, 0.30), (-0.22, 0.17)),
    ],
)
def test_paper_equals_scipy_in_float64(start, shift):
    corners = [(0, 0), (1, 0), (0, 1), (1, 1)]
    target = np.array(corners + [(p + r,) * 2 for p, r in zip(start, shift, strict=True)])
    source = np.array(corners + [(p,) * 2 for p in start])
    spline = scipy.interpolate.RBFInterpolator(target, source, kernel="thin_plate_spline", degree=1)
    expected = 256 * spline(_unit_grid(64, 64).reshape(-1, 2)).reshape(1, 64, 64, 2)
    warp_map = 4 * _paper_warp_map(jnp.array([start]), jnp.array([shift]), 64, 64)
    np.testing.assert_allclose(warp_map, expected, atol=_HIGH_PRECISION_PIXELS)


def test_natural_equals_scipy_in_float64():
    displacement = np.random.default_rng(1).uniform(-0.05, 0.05, (1, 9, 2))
    points = _unit_grid(3, 3).reshape(9, 2)
    spline = scipy.interpolate.RBFInterpolator(
        points, displacement[0], kernel="thin_plate_spline", degree=1
    )
    x = _unit_grid(65, 65)
    cos, sin = 0.9 * np.cos(0.2), 0.9 * np.sin(0.2)
    rotated = (x - 0.5) @ np.array([[cos, sin], [-sin, cos]]) + 0.5
    expected = 64 * (rotated + spline(x.reshape(-1, 2)).reshape(65, 65, 2))
    warp_map = _natural_warp_map(displacement, np.array([0.2]), np.array([0.9]), 65, 65)
    np.testing.assert_allclose(warp_map[0], expected, atol=1e-3)


def test_no_shift_is_the_identity():
    image = _pictures()
    start, shift = jnp.tile(jnp.array([[0.4, 0.6]]), (3, 1)), jnp.zeros((3, 2))
    warp_map = _paper_warp_map(start, shift, 40, 56)
    expected = _unit_grid(40, 56)[None] * (56, 40)
    np.testing.assert_allclose(warp_map, np.repeat(expected, 3, axis=0), atol=1e-4)

    still = _natural_warp_map(jnp.zeros((3, 9, 2)), jnp.zeros(3), jnp.ones(3), 40, 56)
    for border in warp.BORDERS:
        np.testing.assert_allclose(_sample_bilinear(image, still, border), image, atol=1e-4)


def test_natural_keeps_angles_in_oblong_pictures():
    turned = _natural_warp_map(jnp.zeros((1, 9, 2)), jnp.array([0.3]), jnp.ones(1), 40, 56)
    np.testing.assert_allclose(_jacobian(np.asarray(turned)), 1, atol=1e-3)
    steps = np.linalg.norm(np.diff(turned, axis=2), axis=-1)
    np.testing.assert_allclose(steps, 1, atol=1e-3)


@pytest.mark.parametrize(
    ("border", "mode"), [("zero", cv2.BORDER_CONSTANT), ("reflect", cv2.BORDER_REFLECT_101)]
)
def test_sampling_equals_opencv(border, mode):
    image = _pictures()
    rng = np.random.default_rng(2)
    # OpenCV rounds positions to 1/32 pixel; multiples of it are compared exactly.
    warp_map = np.float32(np.round(rng.uniform(-30, 80, (3, 32, 33, 2)) * 32) / 32)
    sampled = np.asarray(_sample_bilinear(image, warp_map, border))
    for picture, positions, result in zip(image, warp_map, sampled, strict=True):
        x, y = positions[..., 0], positions[..., 1]
        expected = cv2.remap(
            picture, x, y, cv2.INTER_LINEAR, borderMode=mode, borderValue=(-1, -1, -1)
        )
        np.testing.assert_allclose(result, expected, atol=2e-5)


@pytest.mark.parametrize("kind", warp.KINDS)
def test_random_warps_depend_on_key_and_place_alone(kind):
    image = jnp.asarray(_pictures(4))
    key = jax.random.key(5)
    warped = _random_warp(key, image, kind)
    assert warped.shape == image.shape and warped.dtype == image.dtype
    assert jnp.all(jnp.abs(warped) <= 1 + 1e-6)
    np.testing.assert_allclose(warped, warp.random_warp(key, image, kind)[0], atol=2e-3)
    np.testing.assert_array_equal(warped, _random_warp(key, image, kind))
    np.testing.assert_allclose(warped[:2], _random_warp(key, image[:2], kind), atol=2e-3)
    assert not np.allclose(warped, _random_warp(jax.random.key(6), image, kind), atol=0.1)
    same = _random_warp(key, jnp.tile(image[:1], (4, 1, 1, 1)), kind)
    assert not np.allclose(same[0], same[1], atol=0.1)


@pytest.mark.parametrize("kind", warp.KINDS)
def test_devices_warp_their_own_pictures(kind):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    shards = NamedSharding(mesh, PartitionSpec("data"))
    replicated = NamedSharding(mesh, PartitionSpec())
    image = jax.device_put(_pictures(8), shards)
    function = jax.jit(
        lambda key, image: warp.random_warp(key, image, kind)[0],
        in_shardings=(replicated, shards),
        out_shardings=shards,
    )
    key = jax.random.key(0)
    np.testing.assert_allclose(
        function(key, image), _random_warp(key, jnp.asarray(_pictures(8)), kind), atol=2e-3
    )
    program = function.lower(key, image).compile().as_text()
    assert "fusion" in program
    for collective in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert collective not in program


def test_paper_draws_are_the_official_ones():
    keys = jax.random.split(jax.random.key(0), 20_000)
    start, shift = (np.asarray(draw, np.float64) for draw in jax.vmap(warp._draw_paper)(keys))
    for draw in (start, shift):
        np.testing.assert_allclose(100 * draw, np.round(100 * draw), atol=1e-4)
    assert np.round([start.min(), start.max()], 2).tolist() == [0.3, 0.7]
    assert np.round([shift.min(), shift.max()], 2).tolist() == [-0.25, 0.25]
    np.testing.assert_allclose(start.mean(axis=0), 0.5, atol=0.004)
    np.testing.assert_allclose(shift.mean(axis=0), 0.0, atol=0.005)
    # Where the two points end up apart, in steps, against the exact distribution: sums of uniform
    # numbers that are rounded to steps, so that the outermost are half as likely, and never 0.
    start_share, shift_share = np.ones(41), np.ones(51)
    start_share[[0, -1]] = shift_share[[0, -1]] = 0.5
    point_share = np.convolve(start_share, shift_share)
    apart_share = np.convolve(point_share, point_share[::-1])
    middle = len(apart_share) // 2
    apart_share[middle] = 0.0
    apart_share /= apart_share.sum()
    apart = np.rint(100 * np.diff(start + shift, axis=1)[:, 0]).astype(int)
    assert np.abs(apart).min() >= 1
    share = np.bincount(apart + middle, minlength=len(apart_share)) / len(apart)
    spread = np.sqrt(apart_share * (1 - apart_share) / len(apart))
    assert np.all(np.abs(share - apart_share) <= 5 * spread + 1e-4)


def test_paper_folds_and_leaves_black_as_documented():
    maps = np.asarray(_random_warp_map(jax.random.key(1), 256, 48, 48, "paper"))
    outside = np.any((maps < 0) | (maps > 47), axis=-1).mean()
    folded = np.any(_jacobian(maps) < 0, axis=(1, 2)).mean()
    assert 0.02 < outside < 0.15
    assert 0.3 < folded < 0.6


def test_natural_cannot_fold():
    # A proof for square pictures: the linear part of the map shrinks no vector below the smallest
    # scale, and no displacements within their bound add more than `added` to its derivative.
    position, step = _unit_grid(65, 65).reshape(-1, 2), 1e-5
    splines = scipy.interpolate.RBFInterpolator(
        _unit_grid(3, 3).reshape(9, 2), np.eye(9), kernel="thin_plate_spline", degree=1
    )
    gradient = [
        (splines(position + offset) - splines(position - offset)) / (2 * step)
        for offset in ((step, 0), (0, step))
    ]
    added = warp.NATURAL_DISPLACEMENT * np.linalg.norm(gradient, axis=0).sum(axis=-1).max()
    assert added < 0.9 * warp.NATURAL_SCALE[0]


def test_natural_leaves_no_black_and_folds_nothing():
    white = jnp.ones((1000, 25, 25, 3))
    random_warp_and_map = jax.jit(warp.random_warp, static_argnums=2)
    for key in jax.random.split(jax.random.key(2), 10):
        warped, maps = random_warp_and_map(key, white, "natural")
        np.testing.assert_allclose(warped, 1.0, atol=1e-6)
        assert _jacobian(np.asarray(maps)).min() > 0.05


def test_natural_moves_in_two_dimensions():
    maps = np.asarray(_random_warp_map(jax.random.key(3), 300, 25, 25, "natural"))
    moved = (maps - 24 * _unit_grid(25, 25)[None]) / 24
    assert 0.03 < np.abs(moved).mean() < 0.12
    correlation = np.corrcoef(moved[:, 6, 6, 0], moved[:, 6, 6, 1])[0, 1]
    assert abs(correlation) < 0.9


def test_keeps_the_dtype():
    image = jnp.asarray(_pictures(), jnp.bfloat16)
    assert _random_warp(jax.random.key(0), image, "paper").dtype == jnp.bfloat16


def test_refuses():
    image, key = jnp.zeros((2, 8, 8, 3)), jax.random.key(0)
    pair = jnp.zeros((2, 2))
    with pytest.raises(ValueError, match="warp kind is 'paprika', expected one of paper, natural"):
        warp.random_warp(key, image, "paprika")
    with pytest.raises(ValueError, match=r"of shape \(8, 8, 3\)"):
        warp.random_warp(key, image[0], "paper")
    with pytest.raises(ValueError, match=r"of shape \(2, 8, 8, 1\)"):
        warp.random_warp(key, image[..., :1], "paper")
    with pytest.raises(ValueError, match="uint8"):
        warp.random_warp(key, image.astype(jnp.uint8), "natural")
    with pytest.raises(ValueError, match="1 x 8 pixels"):
        warp.random_warp(key, image[:, :1], "natural")
    with pytest.raises(ValueError, match="border is 'wrap', expected one of zero, reflect"):
        warp.sample_bilinear(image, jnp.zeros((2, 8, 8, 2)), "wrap")
    with pytest.raises(ValueError, match="2 images but 1 maps"):
        warp.sample_bilinear(image, jnp.zeros((1, 8, 8, 2)))
    with pytest.raises(ValueError, match=r"expected \[B, H, W, C\]"):
        warp.sample_bilinear(image, jnp.zeros((2, 8, 8)))
    with pytest.raises(ValueError, match=r"start and shift have shapes \(2,\)"):
        warp.paper_warp_map(pair[0], pair[0], 8, 8)
    with pytest.raises(ValueError, match="slide to one place"):
        warp.paper_warp_map(pair + 0.5, pair, 8, 8)
    with pytest.raises(ValueError, match="displacement has shape"):
        warp.natural_warp_map(jnp.zeros((2, 4, 2)), jnp.zeros(2), jnp.ones(2), 8, 8)
    with pytest.raises(ValueError, match="angle and scale have shapes"):
        warp.natural_warp_map(jnp.zeros((2, 9, 2)), jnp.zeros(1), jnp.ones(2), 8, 8)
