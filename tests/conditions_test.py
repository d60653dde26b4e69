"""From stored pictures to target, sketch and reference."""

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.data import conditions, sketch, warp

KEY = jax.random.key(3)

make_conditions = jax.jit(conditions.make_conditions, static_argnames=("image_size", "warp"))
xdog = jax.jit(sketch.xdog)


@pytest.fixture(scope="module")
def stored():
    """Three stored pictures of 48 px: smooth colours and a dark disc."""
    y, x = np.mgrid[0:48, 0:48]
    shades = [np.stack([5 * x, 5 * y, 3 * (x + y) % 256], axis=-1).clip(0, 255)] * 3
    for number, shade in enumerate(shades):
        shades[number] = np.where(
            ((x - 20 - 3 * number) ** 2 + (y - 24) ** 2 < 90)[..., None], 10, shade
        )
    return {"image": np.stack(shades).astype(np.uint8)}


def test_all_8_bit_values_return():
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    floats = conditions.from_uint8(jnp.asarray(values))
    assert floats.dtype == jnp.float32
    assert (float(floats.min()), float(floats.max())) == (-1.0, 1.0)
    np.testing.assert_array_equal(conditions.to_uint8(floats), values)


def test_values_outside_the_range_are_clipped_and_others_rounded():
    picture = jnp.asarray([-7.0, -1.0, -1 + 0.6 / 127.5, 1 - 0.4 / 127.5, 1.5])
    np.testing.assert_array_equal(conditions.to_uint8(picture), [0, 0, 1, 255, 255])


@pytest.mark.parametrize("size", [12, 16, 20])
def test_resizing_equals_pillows_antialiased_bilinear(size):
    picture = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    expected = PIL.Image.fromarray(picture).resize((size, size), PIL.Image.Resampling.BILINEAR)
    resized = conditions.resize(conditions.from_uint8(picture[None]), size)
    # Pillow rounds to 8 bits after each direction.
    difference = np.asarray(conditions.to_uint8(resized))[0].astype(int) - np.asarray(expected)
    assert np.abs(difference).max() <= 1


def test_resizing_keeps_what_has_the_size():
    picture = jax.random.normal(KEY, (2, 16, 16, 1))
    np.testing.assert_array_equal(conditions.resize(picture, 16), picture)


@pytest.mark.parametrize("kind", warp.KINDS)
def test_shapes_and_ranges(stored, kind):
    made = make_conditions(KEY, stored, image_size=16, warp=kind)
    assert made.image.shape == made.reference.shape == (3, 16, 16, 3)
    assert made.sketch.shape == (3, 16, 16, 1)
    assert made.condition.shape == (3, 16, 16, 4)
    np.testing.assert_array_equal(made.condition[..., :1], made.sketch)
    np.testing.assert_array_equal(made.condition[..., 1:], made.reference)
    assert made.warp_map.shape == (3, 16, 16, 2)
    for part in made:
        assert part.dtype == jnp.float32
    for picture in (made.image, made.sketch, made.reference):
        assert float(jnp.abs(picture).max()) <= 1 + 1e-6
    np.testing.assert_allclose(
        made.image, conditions.resize(conditions.from_uint8(stored["image"]), 16), atol=1e-6
    )


@pytest.mark.parametrize("kind", warp.KINDS)
def test_the_warp_map_says_where_the_reference_comes_from(stored, kind):
    smooth = {"image": stored["image"][:1].repeat(2, axis=0)}
    smooth["image"][:] = np.stack(np.broadcast_arrays(*np.ogrid[0:240:5, 0:240:5], 90), axis=-1)
    made = make_conditions(KEY, smooth, image_size=16, warp=kind)
    looked_up = jax.jit(warp.warped, static_argnums=2)(made.image, made.warp_map, kind)
    inside = ((made.warp_map > 1) & (made.warp_map < 14)).all(axis=-1)
    assert inside.mean() > 0.3
    # The smooth target at 16 px, warped there, is the reference that was warped at 48 px.
    difference = jnp.abs(looked_up - made.reference).max(axis=-1)
    assert np.quantile(difference[inside], 0.95) < 0.03


def test_the_key_decides_sketch_and_reference_and_not_the_target(stored):
    def make(key):
        return make_conditions(key, stored, image_size=16, warp="paper")

    first, again, other = make(KEY), make(KEY), make(jax.random.key(4))
    for name in conditions.Conditioned._fields:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    np.testing.assert_array_equal(first.image, other.image)
    assert (first.reference != other.reference).any()


def test_sketches_are_drawn_at_the_stored_size_and_then_resized(stored):
    made = make_conditions(KEY, stored, image_size=16, warp="paper")
    image = conditions.from_uint8(stored["image"])
    candidates = [
        conditions.resize(xdog(image, jnp.full((3,), sigma)), 16) for sigma in sketch.SIGMAS
    ]
    for number in range(3):
        assert any(
            np.allclose(made.sketch[number], candidate[number], atol=1e-6)
            for candidate in candidates
        )
    assert float(made.sketch.min()) < 0  # the disc has an outline


def test_given_sketches_are_used_as_they_are(stored):
    given = np.random.default_rng(1).integers(0, 256, (3, 48, 48, 1), np.uint8)
    made = make_conditions(KEY, {**stored, "sketch": given}, image_size=48, warp="natural")
    np.testing.assert_array_equal(conditions.to_uint8(made.sketch), given)


def test_real_pictures_become_the_evaluation_pairs(shared):
    """The fixed pairs were made by other code: at 256 px, then resized."""
    with np.load(shared / "benchmark" / "pairs32.npz") as file:
        gt, sketches = file["gt"][:12].astype(int), file["sketch"][:12].astype(int)
    paths = sorted((shared / "data" / "anime_faces" / "test").iterdir())[:12]
    faces = np.stack([np.asarray(PIL.Image.open(path).convert("RGB")) for path in paths])
    image = conditions.from_uint8(jnp.asarray(faces))

    def at_32(picture):
        return np.asarray(conditions.to_uint8(conditions.resize(picture, 32))).astype(int)

    assert np.abs(at_32(image) - gt).max() <= 2
    drawn = np.stack(
        [at_32(xdog(image, jnp.full((12,), sigma)))[..., 0] for sigma in sketch.SIGMAS]
    )
    close = (np.abs(drawn - sketches) <= 4).mean(axis=(2, 3))
    assert (close.max(axis=0) > 0.99).all()


def test_no_stored_pixel_looks_like_a_condition_that_is_not_given():
    values = conditions.from_uint8(jnp.arange(256, dtype=jnp.uint8))
    assert (values != conditions.NOT_GIVEN).all()


def test_conditions_are_taken_away_by_their_channels(stored):
    made = make_conditions(KEY, stored, image_size=16, warp="paper")
    given = made.condition
    np.testing.assert_array_equal(conditions.sketch_of(given), made.sketch)
    without = conditions.without_reference(given)
    np.testing.assert_array_equal(conditions.sketch_of(without), made.sketch)
    assert (without[..., 1:] == conditions.NOT_GIVEN).all()
    assert (conditions.without_both(given) == conditions.NOT_GIVEN).all()
    assert conditions.without_both(given).shape == given.shape


def test_conditions_are_dropped_as_often_as_asked_and_independently():
    given = jax.random.uniform(KEY, (6000, 1, 2, 4), minval=0.5)
    dropped = conditions.drop(jax.random.key(5), given, 0.1, 0.3)
    is_gone = np.asarray(dropped == conditions.NOT_GIVEN)
    np.testing.assert_array_equal(np.where(is_gone, given, dropped), given)  # the rest is kept
    no_sketch, no_reference = is_gone[..., 0].all((1, 2)), is_gone[..., 1:].all((1, 2, 3))
    # Whole conditions or nothing of them.
    np.testing.assert_array_equal(is_gone[..., 0].any((1, 2)), no_sketch)
    np.testing.assert_array_equal(is_gone[..., 1:].any((1, 2, 3)), no_reference)
    for share, expected in (
        (no_sketch, 0.1),
        (no_reference, 0.3),
        (no_sketch & no_reference, 0.03),
    ):
        assert share.mean() == pytest.approx(expected, abs=4 * (expected / 6000) ** 0.5)


def test_what_an_example_loses_does_not_depend_on_the_batch_size():
    given = jnp.ones((40, 1, 1, 4))
    all_of_them = conditions.drop(KEY, given, 0.5, 0.5)
    np.testing.assert_array_equal(conditions.drop(KEY, given[:7], 0.5, 0.5), all_of_them[:7])
    assert (conditions.drop(jax.random.key(9), given, 0.5, 0.5) != all_of_them).any()


def test_dropping_never_and_always():
    given = jax.random.uniform(KEY, (8, 2, 2, 4), minval=0.5)
    np.testing.assert_array_equal(conditions.drop(KEY, given, 0.0, 0.0), given)
    np.testing.assert_array_equal(
        conditions.drop(KEY, given, 0.0, 1.0), conditions.without_reference(given)
    )


def test_jittered_colours_shift_target_and_reference_alike():
    keys = jax.random.split(jax.random.key(0), 3)
    image = jax.random.uniform(keys[0], (64, 2, 2, 3), minval=-0.5, maxval=0.5)
    condition = jax.random.uniform(keys[1], (64, 2, 2, 4), minval=-0.5, maxval=0.5)
    jittered, of_condition = conditions.jitter_colours(keys[2], image, condition, 0.4)
    shift = np.asarray(jittered - image)
    # One shift for each picture and channel, and the same in its reference; none of the sketch.
    np.testing.assert_allclose(shift, np.broadcast_to(shift[:, :1, :1], shift.shape), atol=1e-6)
    np.testing.assert_allclose(of_condition[..., 1:] - condition[..., 1:], shift, atol=1e-6)
    np.testing.assert_array_equal(of_condition[..., 0], condition[..., 0])
    assert np.abs(shift).max() <= 0.4 and shift.std() == pytest.approx(0.4 / 3**0.5, rel=0.1)
    clipped, _ = conditions.jitter_colours(keys[2], 2 * image, condition, 2.0)
    assert np.abs(clipped).max() == 1.0
