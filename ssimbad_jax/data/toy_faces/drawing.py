"""A procedural anime face from a seed."""

from __future__ import annotations

import io
from collections.abc import Sequence

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
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}.")
    if size < MIN_SIZE:
        raise ValueError(f"size must be {MIN_SIZE} pixels or more, got {size}.")
    # One stream a part: a change in how one part is drawn leaves the others as they were.
    streams = (np.random.Generator(np.random.PCG64([part, seed])) for part in range(12))
    (
        pose_rng,
        colour_rng,
        back_rng,
        front_rng,
        eye_rng,
        face_rng,
        cloth_rng,
        room_rng,
        behind_rng,
        on_hair_rng,
        on_face_rng,
        on_neck_rng,
    ) = streams
    colours = palette.sample(colour_rng)
    boyish = pose_rng.random() < 0.2
    volume = pose_rng.uniform(1.0, 1.14)
    head, body = _pose(pose_rng)
    light = palette.scene_light(room_rng)
    features, pair = face.sample(face_rng), eyes.sample(eye_rng, boyish)
    front = hair_front.sample(front_rng, volume, boyish)
    back = hair_back.sample(back_rng, boyish)

    picture = canvas.Canvas(size)
    background.draw(picture.pen(canvas.Frame(1.0, 0.0, 0.0, 0.0)), room_rng)
    pen, body_pen = picture.pen(head), picture.pen(body)
    hair_back.draw(pen, back_rng, back, volume, colours)
    face.draw_neck(body_pen, features, colours.skin)
    accessories.draw_on_neck(body_pen, on_neck_rng, colours)
    clothing.draw(body_pen, cloth_rng, colours)
    hair_back.draw_over(pen, back_rng, back, colours)
    accessories.draw_behind(pen, behind_rng, colours)
    face.draw_head(pen, features, colours)
    front_locks = [lock.ribbon.outline() for lock in front.bangs + front.sides]
    face.draw_shadow(pen, features, front_locks, colours.skin)
    face.draw_features(pen.at(1.0), features, pair.y, colours)
    eyes.draw(pen.at(1.0), pair, colours)
    hair_front.draw(pen, front, colours.hair)
    eyes.draw_brows(pen.at(1.0), pair, colours)
    accessories.draw_on_face(pen.at(1.05), on_face_rng, pair, colours)
    accessories.draw_on_hair(pen, on_hair_rng, volume, not boyish, colours)
    return picture.finish(light)


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
