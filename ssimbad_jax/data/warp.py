"""Reference pictures: thin-plate-spline warps of the target.

A warp keeps the colours of a picture and moves its shapes, so that the model
has to take colour from the reference and lines from the sketch. There are two:

* `paper`, the one of AnimeDiffusion (Cao et al. 2024) and SSIMBaD: the corners
  stay, two control points slide along the diagonal, and what comes from outside
  the picture is black. It often folds the picture.
* `natural`: a 3 x 3 grid of control points moves in both directions, with
  rotation and scale, and the picture is mirrored at its borders. It never
  folds and leaves no black.

A warp is a map [B, H, W, 2] that gives, for each output pixel, the position
(x, y) in the input picture, in pixels, (0, 0) being the middle of the upper
left one. Within this file, points of a spline are fractions of width and height.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ssimbad_jax import streams
from ssimbad_jax.streams import Stream

KINDS = ("paper", "natural")
BORDERS = ("zero", "reflect")

PAPER_START = (0.3, 0.7)  # where on the diagonal the two control points start
PAPER_SHIFT = 0.25  # how far along the diagonal they slide, either way
PAPER_STEP = 0.01  # starts and shifts are multiples of it
_PAPER_DRAWS = 8  # at once, so that one whose points do not meet is among them, but for 1e-15
_CORNERS = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])

NATURAL_DISPLACEMENT = 0.08  # largest displacement of a control point
NATURAL_ANGLE = np.pi / 12  # largest rotation, either way, in radians
NATURAL_SCALE = (0.8, 1.1)  # size of the area seen, below 1 it is enlarged
# The spline adds at most 8.7 * displacement to the derivative of the map, whose linear part has the
# scale as its smallest singular value: with 0.7 < 0.8 no draw can fold a square picture.
_CONTROL_GRID = np.stack(np.meshgrid([0.0, 0.5, 1.0], [0.0, 0.5, 1.0]), axis=-1).reshape(9, 2)

BLACK = -1.0
# TPUs would otherwise multiply in bfloat16.
_einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


def _kernel(dx: jax.Array, dy: jax.Array) -> jax.Array:
    """Thin-plate kernel r^2 log r^2 of differences of position."""
    squared = dx * dx + dy * dy
    return squared * jnp.log(jnp.where(squared > 0, squared, 1.0))


def _basis(x: jax.Array, y: jax.Array, points: np.ndarray) -> jax.Array:
    """Kernels to N fixed points, then 1, x and y: [N + 3, ...] at positions x and y [...]."""
    x, y = jnp.broadcast_arrays(x, y)
    kernels = [_kernel(x - float(point_x), y - float(point_y)) for point_x, point_y in points]
    return jnp.stack([*kernels, jnp.ones_like(x), x, y])


def _inverse_system(points: np.ndarray) -> np.ndarray:
    """Inverse of the spline's system [N + 3, N + 3] on N fixed points, in float64."""
    num_points = len(points)
    squared = np.sum((points[:, None] - points) ** 2, axis=-1)
    system = np.zeros((num_points + 3, num_points + 3))
    system[:num_points, :num_points] = squared * np.log(np.where(squared > 0, squared, 1.0))
    system[:num_points, num_points] = system[num_points, :num_points] = 1.0
    system[:num_points, num_points + 1 :] = points
    system[num_points + 1 :, :num_points] = points.T
    return np.linalg.inv(system)


_CORNER_INVERSE = _inverse_system(_CORNERS)
_CARDINAL = _inverse_system(_CONTROL_GRID)[:, : len(_CONTROL_GRID)]  # displacements -> coefficients


def _grid(height: int, width: int) -> tuple[jax.Array, jax.Array]:
    """Positions x [1, 1, W] and y [1, H, 1] of the pixels, the outermost at 0 and 1."""
    x, y = jnp.linspace(0.0, 1.0, width), jnp.linspace(0.0, 1.0, height)
    return x[None, None, :], y[None, :, None]


def _check_size(height: int, width: int) -> None:
    if min(height, width) < 2:
        raise ValueError(f"cannot warp a picture of {height} x {width} pixels; use at least 2 x 2")


def paper_warp_map(start: jax.Array, shift: jax.Array, height: int, width: int) -> jax.Array:
    """Map of AnimeDiffusion's warp: two control points slide along the diagonal.

    What is at `start` in the input is at `start + shift` in the output, and the corners stay. The
    spline interpolates displacements, which here are equal in x and y and zero at the corners, so
    one scalar field on a kernel that vanishes at the corners is enough: a 2 x 2 system a draw.
    As in the official code the map is scaled by the size, not the size less one, so the last row
    and column fall outside.

    Args:
        start: Positions of the two points on the diagonal, [B, 2], in [0, 1].
        shift: How far they slide, [B, 2]. `start + shift` of the two must differ.
        height: Pixels.
        width: Pixels.

    Returns:
        Map [B, H, W, 2] of (x, y) in pixels.

    Raises:
        ValueError: On shapes other than [B, 2], sizes below 2 pixels and, where they are known,
          control points that meet (a map of NaN where they are traced).
    """
    _check_size(height, width)
    start, shift = jnp.asarray(start, jnp.float32), jnp.asarray(shift, jnp.float32)
    if start.ndim != 2 or start.shape[1] != 2 or shift.shape != start.shape:
        raise ValueError(
            f"start and shift have shapes {start.shape} and {shift.shape}, expected two points "
            "an image, [B, 2] each"
        )
    point = start + shift
    if not isinstance(point, jax.core.Tracer) and np.any(point[:, 0] == point[:, 1]):
        raise ValueError(
            f"two control points slide to one place, {point.tolist()}: no spline leads there; "
            f"keep start + shift at least {PAPER_STEP} apart"
        )
    apart = point[:, 0] - point[:, 1]
    between = _kernel(apart, apart)
    # The points can be as near as PAPER_STEP. In the basis of their mean and their difference the
    # system stays well conditioned, which float32 needs: 0.003 px at 256 px in the worst draw.
    mix = jnp.array([[0.5, 0.5], [1.0, -1.0]], jnp.float32)
    basis = _einsum("ij,kbj->bik", mix, _basis(point, point, _CORNERS))
    projected = _einsum("bik,kl->bil", basis, jnp.asarray(_CORNER_INVERSE, jnp.float32))
    gram = -_einsum("bik,bjk->bij", projected, basis)
    mean, difference = gram[:, 0, 0] + 0.5 * between, gram[:, 1, 1] - 2 * between
    cross = gram[:, 0, 1]
    target = -_einsum("ij,bj->ib", mix, shift)
    solution = jnp.stack(
        [difference * target[0] - cross * target[1], mean * target[1] - cross * target[0]], axis=1
    )
    solution = solution / (mean * difference - cross * cross)[:, None]
    point_weights = _einsum("bi,ij->jb", solution, mix)[..., None, None]
    corner_weights = _einsum("bi,bik->bk", solution, projected)

    x, y = _grid(height, width)
    point = point.T[..., None, None]
    field = -_einsum("bk,kahw->bhw", corner_weights, _basis(x, y, _CORNERS))
    for i in range(2):
        field += point_weights[i] * _kernel(x - point[i], y - point[i])
    return jnp.stack([width * (x + field), height * (y + field)], axis=-1)


def natural_warp_map(
    displacement: jax.Array, angle: jax.Array, scale: jax.Array, height: int, width: int
) -> jax.Array:
    """Map of a smooth warp in two dimensions: rotation, scale and nine moved control points.

    Args:
        displacement: How far the 3 x 3 control points, row by row, look away from where the
          rotation puts them, [B, 9, 2] as fractions (x, y). Zero leaves them.
        angle: Rotation [B] in radians about the middle.
        scale: Size [B] of the area seen: 1 keeps it, below 1 the picture is enlarged.
        height: Pixels.
        width: Pixels.

    Returns:
        Map [B, H, W, 2] of (x, y) in pixels. It can lead outside: sample with reflected borders.

    Raises:
        ValueError: On other shapes and on sizes below 2 pixels.
    """
    _check_size(height, width)
    displacement = jnp.asarray(displacement, jnp.float32)
    angle, scale = jnp.asarray(angle, jnp.float32), jnp.asarray(scale, jnp.float32)
    num_points = len(_CONTROL_GRID)
    if displacement.ndim != 3 or displacement.shape[1:] != (num_points, 2):
        raise ValueError(f"displacement has shape {displacement.shape}, expected [B, 9, 2]")
    if angle.shape != displacement.shape[:1] or scale.shape != displacement.shape[:1]:
        raise ValueError(
            f"angle and scale have shapes {angle.shape} and {scale.shape}, expected one value "
            f"an image, {displacement.shape[:1]}"
        )
    x, y = _grid(height, width)
    coefficients = _einsum("kn,bnd->dbk", jnp.asarray(_CARDINAL, jnp.float32), displacement)
    moved_x, moved_y = _einsum("dbk,kahw->dbhw", coefficients, _basis(x, y, _CONTROL_GRID))
    # The rotation is one of pixels: it keeps angles in pictures that are not square.
    last_x, last_y = width - 1, height - 1
    x, y = (x - 0.5) * last_x, (y - 0.5) * last_y
    cos, sin = ((scale * turn)[:, None, None] for turn in (jnp.cos(angle), jnp.sin(angle)))
    map_x = cos * x - sin * y + (moved_x + 0.5) * last_x
    map_y = sin * x + cos * y + (moved_y + 0.5) * last_y
    return jnp.stack([map_x, map_y], axis=-1)


def _reflect(position: jax.Array, size: int) -> jax.Array:
    """Mirrors positions at the middles of the outermost pixels into [0, size - 1]."""
    last = size - 1
    unrolled = position - 2 * last * jnp.floor(position / (2 * last))
    return jnp.clip(jnp.minimum(unrolled, 2 * last - unrolled), 0, last)


def _seen(position: jax.Array, size: int) -> jax.Array:
    """One inside [0, size - 1], falling to zero over one pixel outside."""
    return jnp.clip(1 + jnp.minimum(position, size - 1 - position), 0.0, 1.0)


def sample_bilinear(image: jax.Array, warp_map: jax.Array, border: str = "zero") -> jax.Array:
    """Looks pictures up at the positions of a map, with bilinear interpolation.

    Args:
        image: Float pictures [B, H, W, C] in [-1, 1].
        warp_map: Positions [B, h, w, 2] as (x, y) in pixels.
        border: What lies outside: "zero" is black (no light, -1), "reflect" the mirrored picture.

    Returns:
        Pictures [B, h, w, C] in [-1, 1].

    Raises:
        ValueError: On an unknown border and on shapes that do not fit.
    """
    if border not in BORDERS:
        raise ValueError(f"border is {border!r}, expected one of {', '.join(BORDERS)}")
    if image.ndim != 4 or warp_map.ndim != 4 or warp_map.shape[-1] != 2:
        raise ValueError(
            f"image and warp_map have shapes {image.shape} and {warp_map.shape}, "
            "expected [B, H, W, C] and [B, h, w, 2]"
        )
    if warp_map.shape[0] != image.shape[0]:
        raise ValueError(
            f"{image.shape[0]} images but {warp_map.shape[0]} maps; give each image one"
        )
    _check_size(*image.shape[1:3])
    height, width, channels = image.shape[1:]
    map_x, map_y = warp_map[..., 0], warp_map[..., 1]
    if border == "zero":
        x, y = jnp.clip(map_x, 0, width - 1), jnp.clip(map_y, 0, height - 1)
    else:
        x, y = _reflect(map_x, width), _reflect(map_y, height)
    left = jnp.clip(jnp.floor(x), 0, width - 2)
    top = jnp.clip(jnp.floor(y), 0, height - 2)
    first = top.astype(jnp.int32) * width + left.astype(jnp.int32)
    across, down = (x - left)[..., None], (y - top)[..., None]

    def interpolate(
        image: jax.Array, first: jax.Array, across: jax.Array, down: jax.Array
    ) -> jax.Array:
        pixels = image.reshape(height * width, channels).astype(jnp.float32)
        upper_left, upper_right, lower_left, lower_right = (
            pixels.at[first + step].get(mode="clip") for step in (0, 1, width, width + 1)
        )
        upper = upper_left + across * (upper_right - upper_left)
        lower = lower_left + across * (lower_right - lower_left)
        return upper + down * (lower - upper)

    sampled = jax.vmap(interpolate)(image, first, across, down)
    if border == "zero":
        # Within one pixel of the border the outermost pixels fade to black.
        seen = _seen(map_x, width) * _seen(map_y, height)
        sampled = BLACK + seen[..., None] * (sampled - BLACK)
    return sampled.astype(image.dtype)


def _draw_paper(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Draws start and shift [2] of one image, in steps like the official code."""

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        start = _uniform(key, Stream.START, (2,), *PAPER_START)
        shift = _uniform(key, Stream.SHIFT, (2,), -PAPER_SHIFT, PAPER_SHIFT)
        return jnp.round(start / PAPER_STEP), jnp.round(shift / PAPER_STEP)

    # Two points that meet (1.5% of the draws) have no spline, and are drawn again. To move one of
    # them aside instead would make points that nearly meet, the wildest warps, half as many again.
    start, shift = jax.vmap(draw)(streams.of_each(key, _PAPER_DRAWS))
    point = start + shift
    first = jnp.argmax(point[:, 0] != point[:, 1])
    return start[first] * PAPER_STEP, shift[first] * PAPER_STEP


def _draw_natural(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Draws displacement [9, 2], angle and scale of one image."""
    shape = (len(_CONTROL_GRID),)
    direction = _uniform(key, Stream.DIRECTION, shape, 0.0, 2 * np.pi)
    distance = _uniform(key, Stream.DISTANCE, shape, 0.0, NATURAL_DISPLACEMENT)
    heading = jnp.stack([jnp.cos(direction), jnp.sin(direction)], axis=-1)
    angle = _uniform(key, Stream.ANGLE, (), -NATURAL_ANGLE, NATURAL_ANGLE)
    scale = _uniform(key, Stream.SCALE, (), *NATURAL_SCALE)
    return heading * distance[:, None], angle, scale


def _uniform(
    key: jax.Array, stream: Stream, shape: tuple[int, ...], low: float, high: float
) -> jax.Array:
    return jax.random.uniform(streams.fold_in(key, stream), shape, jnp.float32, low, high)


def random_warp_map(
    key: jax.Array, batch_size: int, height: int, width: int, kind: str
) -> jax.Array:
    """Draws maps [B, H, W, 2] of one kind; map i from the i-th key of `streams.of_each(key, B)`.

    Args:
        key: PRNG key.
        batch_size: B.
        height: Pixels.
        width: Pixels.
        kind: "paper" or "natural".

    Returns:
        Maps [B, H, W, 2] of (x, y) in pixels.

    Raises:
        ValueError: On an unknown kind and on sizes below 2 pixels.
    """
    if kind not in KINDS:
        raise ValueError(f"warp kind is {kind!r}, expected one of {', '.join(KINDS)}")
    keys = streams.of_each(key, batch_size)
    if kind == "paper":
        return paper_warp_map(*jax.vmap(_draw_paper)(keys), height, width)
    return natural_warp_map(*jax.vmap(_draw_natural)(keys), height, width)


def random_warp(key: jax.Array, image: jax.Array, kind: str) -> tuple[jax.Array, jax.Array]:
    """Makes a reference of each picture.

    Args:
        key: PRNG key. Picture i uses the i-th key of `streams.of_each(key, B)`.
        image: Float RGB pictures [B, H, W, 3] in [-1, 1].
        kind: "paper" or "natural".

    Returns:
        References [B, H, W, 3] in [-1, 1], and the maps they were looked up with, [B, H, W, 2] of
        (x, y) in pixels.

    Raises:
        ValueError: On an unknown kind and on pictures that are not float [B, H, W, 3].
    """
    if image.ndim != 4 or image.shape[-1] != 3 or not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(
            f"image is {image.dtype} of shape {image.shape}, expected floating point RGB pictures "
            "[B, H, W, 3] in [-1, 1]; convert uint8 with image / 127.5 - 1"
        )
    batch_size, height, width, _ = image.shape
    warp_map = random_warp_map(key, batch_size, height, width, kind)
    return warped(image, warp_map, kind), warp_map


def warped(image: jax.Array, warp_map: jax.Array, kind: str) -> jax.Array:
    """Looks pictures up with the border of a kind of warp; see `sample_bilinear`."""
    return sample_bilinear(image, warp_map, "zero" if kind == "paper" else "reflect")
