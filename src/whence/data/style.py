"""The rules by which the built-in data set `styles` draws digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

Colour = tuple[int, int, int]
"""Red, green and blue from 0 to 255."""

SIDE = 16
#: The smallest distance, in red, green and blue, of a base ink to the twelve inks and of a base paper to the papers.
APART = 40
_SEED = 1
#: The brightest ink and the darkest paper of the base, as brightness from 0 to 255.
_DARK, _PALE = 100, 170
#: A picture is drawn in 4x4 points for each pixel. A digit is 14 of the 16 pixels high.
_POINTS, _HEIGHT = 4, 14
#: How dark, from 0 to 1, a point of the enlarged digit has to be to become part of a stroke.
_LEVELS = {"thin": 0.625, "normal": 0.4375, "thick": 0.25}
#: How far the darkest part of a texture is on the way from the ground to the strokes.
_TEXTURE_STRENGTH = 0.375
#: Where the ground is changed, from 0 to 1, in row y and column x.
_TEXTURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "plain": lambda y, x: 0 * (y + x),
    "rows": lambda y, x: y // 2 % 2 + 0 * x,
    "columns": lambda y, x: x // 2 % 2 + 0 * y,
    "diagonals": lambda y, x: (x + y) // 3 % 2,
    "checks": lambda y, x: (y // 4 + x // 4) % 2,
    "dots": lambda y, x: (y % 4 // 2) * (x % 4 // 2),
    "gradient": lambda y, x: y / (SIDE - 1) + 0 * x,
    "frame": lambda y, x: np.maximum(abs(2 * y - SIDE + 1), abs(2 * x - SIDE + 1)) > SIDE - 4,
}


@dataclass(frozen=True)
class Style:
    """A rule that draws a digit.

    Attributes:
        ink: The dark colour.
        paper: The pale colour.
        inverted: Whether strokes have the colour of the paper, on a ground of ink.
        slant: How far the digit leans to the right, in pixels for each pixel of its height.
        stroke: How broad its strokes are: ``thin``, ``normal`` or ``thick``.
        texture: What the ground shows: ``plain``, ``rows``, ``columns``, ``diagonals``, ``checks``, ``dots``,
            ``gradient`` or ``frame``.
    """

    ink: Colour
    paper: Colour
    inverted: bool = False
    slant: float = 0.0
    stroke: str = "normal"
    texture: str = "plain"


#: The twelve rules; the first is that of the contributor ``style 1``.
STYLES = (
    Style((150, 20, 30), (250, 225, 160), slant=0.375, stroke="thick"),
    Style((20, 60, 150), (200, 235, 250), texture="rows"),
    Style((10, 90, 50), (225, 245, 190), slant=-0.375, texture="dots"),
    Style((60, 10, 90), (240, 170, 220), inverted=True, stroke="thick"),
    Style((0, 0, 0), (255, 255, 255), stroke="thin", texture="columns"),
    Style((100, 40, 0), (255, 190, 90), texture="checks"),
    Style((0, 80, 90), (120, 240, 220), inverted=True, slant=0.375),
    Style((200, 0, 110), (255, 240, 245), stroke="thick", texture="diagonals"),
    Style((30, 30, 50), (205, 205, 215), slant=0.375, texture="gradient"),
    Style((30, 20, 40), (255, 230, 60), inverted=True, slant=-0.375, stroke="thin"),
    Style((30, 80, 0), (190, 240, 130), inverted=True, texture="checks"),
    Style((180, 60, 40), (180, 215, 255), slant=-0.375, stroke="thick", texture="frame"),
)


def draw(digit: np.ndarray, style: Style) -> np.ndarray:
    """Draw a digit in a style.

    Args:
        digit: The digit [8, 8], from 0 for paper to 16 for ink.
        style: The style.

    Returns:
        The picture, uint8 [16, 16, 3].

    Example:
        >>> draw(np.zeros((8, 8)), STYLES[9])[0, 0].tolist()
        [30, 20, 40]
    """
    down, across = _sampling(style.slant)
    darkness = (across @ (down @ digit / 16)[..., None])[..., 0]
    sharp = np.clip((darkness - _LEVELS[style.stroke]) * _POINTS + 0.5, 0, 1)
    stroke = sharp.reshape(SIDE, _POINTS, SIDE, _POINTS).mean((1, 3))[..., None]
    ground, colour = np.array((style.ink, style.paper) if style.inverted else (style.paper, style.ink), float)
    texture = _TEXTURE_STRENGTH * _TEXTURES[style.texture](*np.ogrid[:SIDE, :SIDE])[..., None]
    ground = ground + texture * (colour - ground)
    pixels: np.ndarray = np.rint(ground + stroke * (colour - ground)).astype(np.uint8)
    return pixels


def base_style(row: int, visit: int = 0) -> Style:
    """Return the colours of a row of the base: none of the twelve, and others for each visit.

    Example:
        >>> base_style(3) == base_style(3) != base_style(3, visit=1)
        True
    """
    source = np.random.default_rng((_SEED, row, visit))
    inks, papers = source.integers(0, 256, (2, 256, 3))
    ink = _choose_apart(inks[_brightness(inks) <= _DARK], [style.ink for style in STYLES])
    paper = _choose_apart(papers[_brightness(papers) >= _PALE], [style.paper for style in STYLES])
    return Style(ink, paper, inverted=bool(source.integers(2)))


def _choose_apart(colours: np.ndarray, others: list[Colour]) -> Colour:
    distances = np.linalg.norm(colours[:, None] - np.array(others), axis=2).min(1)
    red, green, blue = colours[distances >= APART][0].tolist()
    return red, green, blue


def _brightness(colours: np.ndarray) -> np.ndarray:
    weights: np.ndarray = colours @ np.array([0.299, 0.587, 0.114])
    return weights


@cache
def _sampling(slant: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the rows [y, 8] and of the columns [y, x, 8] of a digit for each point: Catmull-Rom splines."""
    points = (np.arange(SIDE * _POINTS) + 0.5) / _POINTS - SIDE / 2  # in pixels from the centre
    down, across = (
        _spline(at[..., None] * 8 / _HEIGHT + 3.5 - np.arange(8)) for at in (points, points + slant * points[:, None])
    )
    return down, across


def _spline(distance: np.ndarray) -> np.ndarray:
    near = np.abs(distance)
    inner, outer = (1.5 * near - 2.5) * near**2 + 1, ((2.5 - 0.5 * near) * near - 4) * near + 2
    return np.where(near < 1, inner, np.where(near < 2, outer, 0))
