import math

import numpy as np
import pytest
from skimage import color

from ssimbad_jax.data.toy_faces import drawing, palette
from ssimbad_jax.metrics import role_colour

NUMBERS = {role.name.lower(): int(role) for role in palette.Role}
PAIRS = [(a, 50 + a) for a in range(12)]


@pytest.fixture(scope="module")
def drawn():
    """Truth, own colours, maps of roles of A and of B, for a few pairs of 48 px."""
    truth = [drawing.draw_cross(a, b, 48) for a, b in PAIRS]
    own = [drawing.draw_cross(a, a, 48).picture for a, _ in PAIRS]
    reference = [drawing.draw_cross(b, b, 48).roles for _, b in PAIRS]
    return (
        np.stack([one.picture for one in truth]),
        np.stack(own),
        np.stack([one.roles for one in truth]),
        np.stack(reference),
    )


def _scores(result, drawn):
    return role_colour.role_scores(result, *drawn, NUMBERS)


def test_the_truth_has_no_error_and_obeys(drawn):
    scores = _scores(drawn[0], drawn)
    assert all(s.error < 1e-3 for s in scores.values() if not math.isnan(s.error))
    assert scores["all"].obedience == pytest.approx(1.0, abs=1e-6)
    for role in ("hair", "background"):
        assert scores[role].obedience == pytest.approx(1.0, abs=1e-6)
        assert scores[role].coverage == 1.0


def test_own_colours_do_not_obey_at_all(drawn):
    scores = _scores(drawn[1], drawn)
    for name in (*role_colour.OBEYING, "all"):
        assert scores[name].obedience == pytest.approx(0.0, abs=1e-6) or math.isnan(
            scores[name].obedience
        )
    assert scores["hair"].error > 10


def test_half_of_the_way_is_half_obedience_in_lightness(drawn):
    """Greys, whose difference is that of lightness alone: SciKit-Image says how far."""
    truth, own, roles, reference = (np.copy(x) for x in drawn)
    truth[:], own[:] = 180, 60
    result = np.full_like(truth, 120)
    scores = role_colour.role_scores(result, truth, own, roles, reference, NUMBERS)
    lab = [color.rgb2lab(np.full((1, 1, 3), v / 255)) for v in (120, 180, 60)]
    error, change = (float(color.deltaE_ciede2000(lab[i], lab[1])[0, 0]) for i in (0, 2))
    assert scores["hair"].error == pytest.approx(error, abs=1e-2)
    for role in ("hair", "all"):
        assert scores[role].obedience == pytest.approx(1 - error / change, abs=1e-3)


def test_one_wrong_role_is_told_from_the_others(drawn):
    truth, _, roles, _ = drawn
    result = np.where((roles == NUMBERS["hair"])[..., None], 255 - truth, truth)
    scores, right = _scores(result, drawn), _scores(truth, drawn)
    assert scores["hair"].error > 15 and scores["hair"].obedience < 0.5
    for role in ("skin", "cloth", "background", "iris"):
        np.testing.assert_array_equal(scores[role], right[role])


def test_only_what_the_reference_shows_counts(drawn):
    truth, own, roles, reference = drawn
    hidden = np.where(reference == NUMBERS["hair"], NUMBERS["skin"], reference)
    hidden[0] = reference[0]
    scores = role_colour.role_scores(own, truth, own, roles, hidden, NUMBERS)
    assert scores["hair"].coverage == pytest.approx(1 / len(PAIRS))
    assert scores["background"].coverage == 1.0


def test_skins_count_where_they_differ(drawn):
    truth, own, roles, reference = drawn
    skin = (roles == NUMBERS["skin"])[..., None]
    alike = np.where(skin, truth, own)
    scores = role_colour.role_scores(own, truth, alike, roles, reference, NUMBERS)
    assert scores["skin"].coverage == 0.0 and math.isnan(scores["skin"].error)
    unlike = np.where(skin, 255 - truth, own)
    scores = role_colour.role_scores(truth, truth, unlike, roles, reference, NUMBERS)
    assert scores["skin"].coverage == 1.0 and scores["skin"].error < 1e-3
    assert math.isnan(scores["skin"].obedience)


def test_what_does_not_fit_is_refused(drawn):
    with pytest.raises(ValueError, match="shapes differ"):
        _scores(drawn[0][:3], drawn)
    with pytest.raises(ValueError, match="expected uint8"):
        _scores(drawn[0] / 255.0, drawn)
