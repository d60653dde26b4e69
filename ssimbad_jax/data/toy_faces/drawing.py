"""A procedural anime face from a seed."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from ssimbad_jax.data.toy_faces import (
    accessories,
    background,
    canvas,
    clothing,
    eyes,
    face,
    hair_back,
    hair_front,
    palette,
)

VERSION = "1.0.0"  # raised whenever a seed's picture changes
MIN_SIZE = 8
_PARTS = (
    "pose",
    "colour",
    "back",
    "front",
    "eye",
    "face",
    "cloth",
    "room",
    "behind",
    "on_hair",
    "on_face",
    "on_neck",
)
_CROSS = 100  # offset of the streams of `draw_cross`: no face of it is one of `draw`
_CHOICES = 99  # number of the stream of a palette's choices, before the offset
_WHOLE = canvas.Frame(1.0, 0.0, 0.0, 0.0)  # picture coordinates
_NECK_Y = 1.15  # the head tilts around this point of its axis


def draw(seed: int, size: int) -> np.ndarray:
    """Draws the anime face of a seed.

    The same seed gives the same picture at every size, drawn anew and antialiased.

    Args:
        seed: Any integer >= 0.
        size: Height and width in pixels, at least 8.

    Returns:
        Picture, uint8 [size, size, 3].

    Raises:
        ValueError: If `seed` is negative or `size` is below 8.
    """
    _check(size, seed=seed)
    rngs = _streams(seed)
    room_rng = rngs["room"]
    light = palette.scene_light(room_rng)
    picture = canvas.Canvas(size)
    background.draw(picture.pen(_WHOLE), room_rng)
    _draw_character(picture, rngs, palette.sample(rngs["colour"]))
    return picture.finish(light)


def _check(size: int, **seeds: int) -> None:
    for name, seed in seeds.items():
        if seed < 0:
            raise ValueError(f"{name} must be 0 or more, got {seed}.")
    if size < MIN_SIZE:
        raise ValueError(f"size must be {MIN_SIZE} pixels or more, got {size}.")


def _streams(seed: int, offset: int = 0) -> dict[str, np.random.Generator]:
    """Returns a stream a part: a change in how one is drawn leaves the others as they were."""
    return {
        part: np.random.Generator(np.random.PCG64([offset + number, seed]))
        for number, part in enumerate(_PARTS)
    }


def _draw_character(
    picture: canvas.Canvas, rngs: Mapping[str, np.random.Generator], colours: palette.Palette
) -> None:
    """Draws hair, face, clothes and what is worn; shapes come from streams, colours do not."""
    pose_rng, back_rng = rngs["pose"], rngs["back"]
    boyish = pose_rng.random() < 0.2
    volume = pose_rng.uniform(1.0, 1.14)
    head, body = _pose(pose_rng)
    features, pair = face.sample(rngs["face"]), eyes.sample(rngs["eye"], boyish)
    front = hair_front.sample(rngs["front"], volume, boyish)
    back = hair_back.sample(back_rng, boyish)

    pen, body_pen = picture.pen(head), picture.pen(body)
    hair_back.draw(pen, back_rng, back, volume, colours)
    face.draw_neck(body_pen, features, colours.skin)
    accessories.draw_on_neck(body_pen, rngs["on_neck"], colours)
    clothing.draw(body_pen, rngs["cloth"], colours)
    hair_back.draw_over(pen, back_rng, back, colours)
    accessories.draw_behind(pen, rngs["behind"], colours)
    face.draw_head(pen, features, colours)
    front_locks = [lock.ribbon.outline() for lock in front.bangs + front.sides]
    face.draw_shadow(pen, features, front_locks, colours.skin)
    face.draw_features(pen.at(1.0), features, pair.y, colours)
    eyes.draw(pen.at(1.0), pair, colours)
    hair_front.draw(pen, front, colours.hair)
    eyes.draw_brows(pen.at(1.0), pair, colours)
    accessories.draw_on_face(pen.at(1.05), rngs["on_face"], pair, colours)
    accessories.draw_on_hair(pen, rngs["on_hair"], volume, not boyish, colours)


class Drawing(NamedTuple):
    """A picture and what paints it.

    Attributes:
        picture: uint8 [size, size, 3].
        roles: uint8 [size, size], a `palette.Role` at the centre of each pixel, without the light
            of the scene and without antialiasing.
    """

    picture: np.ndarray
    roles: np.ndarray


def draw_cross(geometry: int, colours: int, size: int, plain: bool = True) -> Drawing:
    """Draws the geometry of one seed in the colours of another: the truth of a cross reference.

    Shapes, pose, expression and what is worn belong to `geometry`. All colours, which role paints
    what can have one of two, the room and its light belong to `colours`. So `draw_cross(a, b)` is
    what a sketch of a should become after the reference `draw_cross(b, b)`.

    Args:
        geometry: Any integer >= 0.
        colours: Any integer >= 0.
        size: Height and width in pixels, at least 8.
        plain: Whether the room is one colour in white light; else as `draw` has it.

    Returns:
        The drawing.

    Raises:
        ValueError: If a seed is negative or `size` is below 8.
    """
    _check(size, geometry=geometry, colours=colours)
    room_rng, light = _streams(colours, _CROSS)["room"], (1.0, 1.0, 1.0)
    picture = canvas.Canvas(size, has_roles=True)
    if plain:
        background.draw_plain(picture.pen(_WHOLE), room_rng)
    else:
        light = palette.scene_light(room_rng)
        background.draw(picture.pen(_WHOLE), room_rng)
    picture.fill_role(palette.Role.BACKGROUND)
    _draw_character(picture, _streams(geometry, _CROSS), cross_palette(colours))
    return Drawing(picture.finish(light), picture.roles())


def cross_palette(colours: int) -> palette.Palette:
    """Returns the palette of a seed of `draw_cross`, with its choices of roles."""
    choices_rng = np.random.Generator(np.random.PCG64([_CROSS + _CHOICES, colours]))
    sampled = palette.sample(_streams(colours, _CROSS)["colour"])
    return dataclasses.replace(sampled, choices=palette.sample_choices(choices_rng))


def draw_neutral(geometry: int, size: int) -> np.ndarray:
    """Draws the geometry of a seed in dark lines on white, from which a sketch tells no colours.

    Args:
        geometry: As in `draw_cross`.
        size: Height and width in pixels, at least 8.

    Returns:
        Picture, uint8 [size, size, 3].

    Raises:
        ValueError: If the seed is negative or `size` is below 8.
    """
    _check(size, geometry=geometry)
    picture = canvas.Canvas(size)
    background.fill(picture.pen(_WHOLE), palette.neutral().skin.base)
    _draw_character(picture, _streams(geometry, _CROSS), palette.neutral())
    return picture.finish()


def draw_png(seed: int, size: int) -> bytes:
    """Draws the face of a seed as `draw` does and returns it as an encoded PNG."""
    buffer = io.BytesIO()
    Image.fromarray(draw(seed, size)).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def _pose(rng: np.random.Generator) -> tuple[canvas.Frame, canvas.Frame]:
    """Draws where head and body are: the head tilts on the neck, the body follows a little."""
    scale = rng.uniform(0.24, 0.315)
    angle = float(np.clip(rng.normal(0.0, 0.09), -0.22, 0.22))
    x, y = 0.5 + rng.uniform(-0.04, 0.04), rng.uniform(0.43, 0.50)
    yaw, pitch = float(np.clip(rng.normal(0.0, 0.6), -1.0, 1.0)), rng.uniform(-0.4, 0.4)
    width = rng.uniform(0.7, 1.05)
    head = canvas.Frame(scale, angle, x, y, yaw, pitch, width)
    lean = 0.3 * angle
    # The neck point of both frames is the same place in the picture.
    body_x = x - scale * _NECK_Y * (np.sin(angle) - np.sin(lean))
    body_y = y + scale * _NECK_Y * (np.cos(angle) - np.cos(lean))
    return head, canvas.Frame(scale, lean, body_x, body_y, pen=width)


def contact_sheet(seeds: Sequence[int], size: int, columns: int) -> np.ndarray:
    """Draws many faces side by side.

    Args:
        seeds: Seeds of the faces, row by row.
        size: Height and width of one face in pixels.
        columns: Faces in a row.

    Returns:
        Picture, uint8 [rows * size, columns * size, 3]; cells left over are white.
    """
    if columns < 1:
        raise ValueError(f"columns must be 1 or more, got {columns}.")
    rows = -(-len(seeds) // columns)
    sheet = np.full((rows, columns, size, size, 3), 255, dtype=np.uint8)
    for i, seed in enumerate(seeds):
        sheet[divmod(i, columns)] = draw(seed, size)
    return sheet.transpose(0, 2, 1, 3, 4).reshape(rows * size, columns * size, 3)
