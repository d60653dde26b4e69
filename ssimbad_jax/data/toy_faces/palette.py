"""Colours of a character: hair, skin, eyes, clothes and the room behind it."""

from __future__ import annotations

import colorsys
import dataclasses
import enum

import numpy as np

Colour = tuple[int, int, int]

WHITE: Colour = (252, 252, 252)


class Role(enum.IntEnum):
    """What a colour paints."""

    OTHER = 0
    BACKGROUND = 1
    HAIR = 2
    SKIN = 3
    IRIS = 4
    EYE_WHITE = 5
    MOUTH = 6
    BLUSH = 7
    CLOTH = 8
    TRIM = 9
    ACCENT = 10
    WHITE = 11
    LINE = 12


class Paint(tuple[int, int, int]):
    """A colour that knows its role; what `mix` and `times` make of it keeps the role."""

    role: Role

    def __new__(cls, colour: Colour, role: Role) -> Paint:
        """Gives a colour a role."""
        paint = super().__new__(cls, colour)
        paint.role = role
        return paint


def role_of(colour: Colour) -> Role:
    """Returns the role of a colour; `OTHER` if it has none."""
    return colour.role if isinstance(colour, Paint) else Role.OTHER


# Hue, saturation and value ranges of hair, with how often they are worn.
_HAIR = {
    "black": (10, (0.58, 0.74), (0.12, 0.32), (0.20, 0.30)),
    "dark brown": (11, (0.00, 0.07), (0.35, 0.55), (0.28, 0.42)),
    "brown": (13, (0.03, 0.08), (0.40, 0.62), (0.45, 0.62)),
    "light brown": (9, (0.06, 0.10), (0.35, 0.55), (0.66, 0.82)),
    "blonde": (14, (0.10, 0.145), (0.35, 0.65), (0.90, 1.00)),
    "silver": (7, (0.55, 0.72), (0.03, 0.14), (0.78, 0.94)),
    "red": (8, (0.96, 1.03), (0.60, 0.78), (0.55, 0.85)),
    "orange": (6, (0.04, 0.075), (0.60, 0.80), (0.85, 0.98)),
    "pink": (9, (0.92, 0.99), (0.28, 0.52), (0.90, 1.00)),
    "purple": (8, (0.72, 0.83), (0.28, 0.55), (0.45, 0.80)),
    "blue": (9, (0.58, 0.66), (0.45, 0.70), (0.42, 0.80)),
    "light blue": (6, (0.50, 0.58), (0.25, 0.50), (0.80, 0.96)),
    "green": (6, (0.33, 0.47), (0.30, 0.55), (0.45, 0.80)),
}
_EYE_HUES = (0.02, 0.06, 0.09, 0.13, 0.30, 0.38, 0.48, 0.55, 0.60, 0.66, 0.76, 0.90, 0.98)


def mix(first: Colour, second: Colour, weight: float) -> Colour:
    """Returns `first` with the fraction `weight` of `second` mixed in."""
    a, b = (np.array(colour, dtype=np.float64) for colour in (first, second))
    return Paint(_rounded(a + weight * (b - a)), role_of(first))


def times(colour: Colour, red: float, green: float, blue: float) -> Colour:
    """Returns the colour multiplied channel by channel, as under coloured light."""
    return Paint(_rounded(np.array(colour) * np.array([red, green, blue])), role_of(colour))


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Returns the colour of a hue (wraps at 1), saturation and value in [0, 1]."""
    return _rounded(255.0 * np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value)))


def _rounded(channels: np.ndarray) -> Colour:
    red, green, blue = np.clip(np.rint(channels), 0, 255).astype(int).tolist()
    return red, green, blue


@dataclasses.dataclass(frozen=True)
class Tone:
    """One material in cel shading.

    Attributes:
        base: Colour in the light.
        shade: Colour in the shadow.
        light: Colour of the shine.
        line: Colour of outlines.
    """

    base: Colour
    shade: Colour
    light: Colour
    line: Colour


def tone(base: Colour) -> Tone:
    """Derives cool shadows, shine and a dark outline from a base colour, whose role they have."""
    dark = sum(base) < 240
    shade = times(base, 0.62, 0.60, 0.70) if dark else times(base, 0.80, 0.73, 0.80)
    light = mix(base, (225, 230, 255), 0.35) if dark else mix(base, WHITE, 0.62)
    line = mix(times(base, 0.40, 0.31, 0.36), (22, 12, 20), 0.62 if dark else 0.38)
    return Tone(base, shade, light, Paint(line, Role.LINE))


@dataclasses.dataclass(frozen=True)
class Choices:
    """Which role paints what can have one of two.

    Attributes:
        white_shirt: A sailor's shirt is white and its collar cloth; else the other way round.
        trim_collar: A shirt's collar is trim; else cloth.
        accent_ornament: What is worn on the hair is accent; else trim.
        dark_frame: Glasses are dark; else accent.
    """

    white_shirt: bool
    trim_collar: bool
    accent_ornament: bool
    dark_frame: bool


@dataclasses.dataclass(frozen=True)
class Palette:
    """The colours of one character.

    Attributes:
        choices: What the palette decides beside colours; None: the geometry does.
    """

    hair: Tone
    skin: Tone
    blush: Colour
    iris: Tone
    cloth: Tone
    trim: Tone
    accent: Tone
    choices: Choices | None = None

    def chooses(self, choice: str, share: float, rng: np.random.Generator) -> bool:
        """Returns the palette's choice; drawn from the geometry's stream if it has none.

        Args:
            choice: An attribute of `Choices`.
            share: How often it is made.
            rng: Stream of the geometry, which a palette with choices leaves as it is.
        """
        if self.choices is None:
            return bool(rng.random() < share)
        return bool(getattr(self.choices, choice))


def sample(rng: np.random.Generator) -> Palette:
    """Draws the colours of one character."""
    hair = tone(Paint(_hair(rng), Role.HAIR))
    hair = dataclasses.replace(hair, light=mix(hair.base, hair.light, rng.uniform(0.5, 1.0)))
    skin_base = Paint(_skin(rng), Role.SKIN)
    skin = Tone(
        base=skin_base,
        shade=times(skin_base, 0.90, 0.76, 0.74),
        light=mix(skin_base, WHITE, 0.5),
        line=Paint(mix(times(skin_base, 0.38, 0.22, 0.20), (30, 12, 16), 0.5), Role.LINE),
    )
    cloth, trim, accent = (
        tone(Paint(colour, role))
        for colour, role in zip(_clothes(rng), (Role.CLOTH, Role.TRIM, Role.ACCENT), strict=True)
    )
    blush = Paint(mix(skin_base, (240, 90, 90), 0.28), Role.BLUSH)
    iris = tone(Paint(_iris(rng), Role.IRIS))
    return Palette(hair, skin, blush, iris, cloth, trim, accent)


def sample_choices(rng: np.random.Generator) -> Choices:
    """Draws the choices of a palette, as often each as version 1.0.0 of the drawings does."""
    return Choices(*(bool(rng.random() < share) for share in (0.7, 0.5, 0.7, 0.6)))


def neutral() -> Palette:
    """Returns dark lines on white, alike for all that is painted."""
    white, dark = (246, 246, 246), (40, 36, 38)

    def flat(role: Role) -> Tone:
        paint = Paint(white, role)
        return Tone(paint, paint, paint, Paint(dark, Role.LINE))

    return Palette(
        flat(Role.HAIR),
        flat(Role.SKIN),
        Paint(white, Role.BLUSH),
        flat(Role.IRIS),
        flat(Role.CLOTH),
        flat(Role.TRIM),
        flat(Role.ACCENT),
        Choices(white_shirt=True, trim_collar=True, accent_ornament=True, dark_frame=True),
    )


def scene_light(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draws the colour of the light, mostly white, as factors of red, green and blue."""
    lights = ((1.0, 1.0, 1.0), (1.0, 0.90, 0.80), (0.84, 0.88, 0.97), (0.86, 0.84, 0.86))
    colour = np.array(lights[rng.choice(4, p=[0.80, 0.10, 0.05, 0.05])])
    red, green, blue = (1.0 - rng.uniform(0.5, 1.0) * (1.0 - colour)).tolist()
    return red, green, blue


def _hair(rng: np.random.Generator) -> Colour:
    families = list(_HAIR.values())
    weights = np.array([family[0] for family in families], dtype=np.float64)
    _, hue, saturation, value = families[rng.choice(len(families), p=weights / weights.sum())]
    return hsv(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))


def _skin(rng: np.random.Generator) -> Colour:
    depth = rng.beta(0.6, 7.0)
    pale, tan = mix((255, 240, 226), (255, 228, 214), rng.random()), (176, 116, 84)
    return mix(pale, tan, depth)


def _iris(rng: np.random.Generator) -> Colour:
    hue = rng.choice(_EYE_HUES) + rng.uniform(-0.02, 0.02)
    return hsv(hue, rng.uniform(0.50, 0.85), rng.uniform(0.55, 0.92))


def _clothes(rng: np.random.Generator) -> tuple[Colour, Colour, Colour]:
    hue = rng.random()
    kind = rng.random()
    if kind < 0.3:  # light cloth
        cloth = hsv(hue, rng.uniform(0.0, 0.12), rng.uniform(0.90, 0.99))
        trim = hsv(rng.random(), rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.8))
    elif kind < 0.6:  # dark cloth, as of uniforms
        cloth = hsv(
            float(rng.choice([0.62, 0.66, 0.60, 0.95, 0.40, 0.07])),
            rng.uniform(0.2, 0.6),
            rng.uniform(0.22, 0.45),
        )
        trim = hsv(hue, rng.uniform(0.0, 0.15), rng.uniform(0.88, 0.99))
    else:
        cloth = hsv(hue, rng.uniform(0.20, 0.62), rng.uniform(0.55, 0.92))
        trim = hsv(hue + rng.uniform(0.3, 0.7), rng.uniform(0.05, 0.5), rng.uniform(0.6, 0.98))
    accent = hsv(
        float(rng.choice([0.98, 0.02, 0.58, 0.13, 0.93, 0.45, 0.75])),
        rng.uniform(0.55, 0.85),
        rng.uniform(0.65, 0.95),
    )
    return cloth, trim, accent
