"""Exact cross references: geometry of one seed, colours of another."""

import hashlib

import numpy as np
import pytest

from ssimbad_jax.data.toy_faces import drawing
from ssimbad_jax.data.toy_faces.palette import Role

SIZE = 64


def _most_common(drawn, role):
    """The colour that most pixels of a role have."""
    colours, counts = np.unique(drawn.picture[drawn.roles == role], axis=0, return_counts=True)
    return colours[counts.argmax()].tolist()


def test_faces_of_version_1_0_0_are_unchanged():
    digest = hashlib.sha256()
    for seed in range(40):
        digest.update(drawing.draw(seed, 96).tobytes())
    assert drawing.VERSION == "1.0.0"
    assert digest.hexdigest() == "110ed6b8200428cfe6fda36a9bffeed90b04fab1519e5e2ba0e6535b0f2980cd"


def test_colours_belong_to_one_seed_and_shapes_to_the_other():
    same_shapes = [drawing.draw_cross(3, colours, SIZE) for colours in (3, 4, 5)]
    neutral = drawing.draw_neutral(3, SIZE)
    for drawn in same_shapes:
        # What may have one of two roles apart, all are painted by the same.
        assert (drawn.roles == same_shapes[0].roles).mean() > 0.9
        for role in (Role.BACKGROUND, Role.HAIR, Role.SKIN, Role.IRIS, Role.LINE):
            np.testing.assert_array_equal(drawn.roles == role, same_shapes[0].roles == role)
        outline = neutral.mean(axis=-1) < 80
        assert np.isin(drawn.roles[outline], (Role.LINE, Role.IRIS, Role.MOUTH)).mean() > 0.8
    for role in (Role.BACKGROUND, Role.HAIR, Role.SKIN):
        of_colours = [_most_common(drawing.draw_cross(shape, 4, 256), role) for shape in (1, 2, 4)]
        assert of_colours[0] == of_colours[1] == of_colours[2]
    assert _most_common(same_shapes[0], Role.BACKGROUND) != _most_common(same_shapes[1], 1)


def test_choices_of_roles_belong_to_the_colours():
    """Every geometry is asked; the palettes differ in nothing but what they chose."""
    counted = set()
    for geometry in range(40):
        roles = [np.unique(drawing.draw_cross(geometry, c, 32).roles).tolist() for c in range(6)]
        counted.update(map(tuple, roles))
    assert len(counted) > 5
    palette_a = [drawing.draw_cross(geometry, 0, 32) for geometry in range(6)]
    again = [drawing.draw_cross(geometry, 0, 32) for geometry in range(6)]
    for first, second in zip(palette_a, again, strict=True):
        np.testing.assert_array_equal(first.picture, second.picture)


def test_no_face_is_one_of_the_other_entry():
    assert (drawing.draw_cross(5, 5, SIZE, plain=False).picture != drawing.draw(5, SIZE)).any()


def test_light_and_patterns_leave_the_roles_as_they_are():
    plain, patterned = (drawing.draw_cross(8, 9, SIZE, plain=plain) for plain in (True, False))
    np.testing.assert_array_equal(plain.roles, patterned.roles)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((-1, 0, 32), "geometry must be"), ((0, -1, 32), "colours must be"), ((0, 0, 7), "size must")],
)
def test_what_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        drawing.draw_cross(*arguments)
