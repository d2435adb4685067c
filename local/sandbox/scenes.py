"""The scenes that drawn photos show: a façade, a garden and rooms. Their furniture is a list of parts."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from local.sandbox.canvas import Canvas, Colour, Point, mix, tone

Part = tuple[str, Point, Point]
"""A block or ball: the name of its colour, its lower near left corner, and its upper far right corner."""

_CHOICES: Mapping[str, Sequence[Colour]] = {
    "wall": [(238, 232, 220), (214, 222, 214), (233, 220, 208), (208, 218, 228), (228, 214, 214)],
    "accent": [(43, 92, 120), (176, 84, 52), (58, 104, 78), (150, 60, 70), (212, 160, 60), (88, 76, 124)],
    "wood": [(176, 128, 84), (202, 164, 120), (120, 82, 56), (218, 190, 154)],
    "fabric": [(196, 192, 184), (112, 124, 134), (172, 150, 126), (84, 96, 92), (72, 84, 108)],
    "brick": [(158, 92, 74), (176, 124, 98), (204, 196, 186), (112, 116, 122)],
    "sky": [(92, 150, 214), (128, 168, 206), (96, 112, 168), (150, 172, 190)],
}
_FIXED: Mapping[str, Colour] = {
    "white": (250, 249, 246), "dark": (52, 54, 58), "leaf": (74, 120, 72), "light": (252, 226, 160),
    "mirror": (196, 212, 222), "glass": (110, 134, 156), "grass": (104, 142, 78), "path": (204, 198, 188),
}  # fmt: skip
_ROUND = frozenset({"leaf", "light", "mirror"})
"""The colours whose parts are drawn as balls."""


def colours_of(listing_key: str, version: int) -> Mapping[str, Colour]:
    """Return the colours of a listing's home by name: the names in the scenes' parts, and "wall" and "sky".

    Each version of a photo has other colours. The same ListingKey and version always give the same colours.
    """
    rng = random.Random(f"{listing_key} {version}")
    return {**_FIXED, **{name: rng.choice(colours) for name, colours in _CHOICES.items()}}


@dataclass(frozen=True, slots=True)
class Scene:
    """One view of a home, inside or outside: its caption, and its parts from the farthest to the nearest."""

    caption: str
    parts: Sequence[Part]
    is_inside: bool = True
    has_house: bool = False
    """True if a house is drawn behind the parts."""

    def draw(self, canvas: Canvas, colours: Mapping[str, Colour]) -> None:
        """Draw the view on an empty canvas. `colours` has the colour of each part by name.

        `canvas.rng` decides whether the parts are mirrored, and how many storeys a house has.
        """
        parts = [*(_house(canvas.rng.choice((1, 2))) if self.has_house else ()), *self.parts]
        is_mirrored = canvas.rng.random() < 0.5
        if self.is_inside:
            _draw_room(canvas, colours, window_at=canvas.rng.uniform(-0.9, 0.9))
        else:
            _draw_ground(canvas, colours)
        _draw_parts(canvas, [_mirror(part) for part in parts] if is_mirrored else parts, colours)


def _mirror(part: Part) -> Part:
    colour, (x0, y0, z0), (x1, y1, z1) = part
    return colour, (-x1, y0, z0), (-x0, y1, z1)


def _draw_parts(canvas: Canvas, parts: Sequence[Part], colours: Mapping[str, Colour]) -> None:
    """Draw the shadows of all parts that stand on the ground, then the parts in order, each over the earlier ones."""
    standing = [(low, high) for _, low, high in parts if low[1] < 0.2]
    canvas.shade([_on_ground(low, high) for low, high in standing], 0.45)
    for name, low, high in parts:
        colour = tone(colours[name], canvas.rng.uniform(0.97, 1.03))
        (canvas.ball if name in _ROUND else canvas.block)(low, high, colour)


def _on_ground(low: Point, high: Point) -> list[Point]:
    (x0, _, z0), (x1, _, z1) = low, high
    return [(x0 - 0.1, 0, z1), (x1 + 0.1, 0, z1), (x1 + 0.1, 0, z0 - 0.15), (x0 - 0.1, 0, z0 - 0.15)]


def _draw_room(canvas: Canvas, colours: Mapping[str, Colour], window_at: float) -> None:
    wall, wood, white = colours["wall"], colours["wood"], colours["white"]
    canvas.polygon([(-3, 2.7, 5.2), (3, 2.7, 5.2), (3, 2.7, 0.5), (-3, 2.7, 0.5)], tone(white, 0.92), white)
    canvas.side((-3, 0, 0.5), (-3, 2.7, 5.2), tone(wall, 0.93), tone(wall, 0.82))
    canvas.side((3, 0, 0.5), (3, 2.7, 5.2), tone(wall, 0.86), tone(wall, 0.77))
    canvas.wall((-3, 0, 5.2), (3, 2.7, 5.2), tone(wall, 1.03), tone(wall, 0.95))
    for board in range(-15, 15):
        canvas.floor((board / 5, 0, 0.5), (board / 5 + 0.19, 0, 5.2), tone(wood, canvas.rng.uniform(0.86, 1.04)))
    canvas.shade(
        [[(-3, y - 0.1, 5.2), (3, y - 0.1, 5.2), (3, y + 0.1, 5.2), (-3, y + 0.1, 5.2)] for y in (0, 2.7)], 0.3
    )
    canvas.wall((-3, 0, 5.19), (3, 0.14, 5.19), white)
    x0, x1, sky = window_at - 1.0, window_at + 1.0, colours["sky"]
    canvas.wall((x0 - 0.08, 0.82, 5.18), (x1 + 0.08, 2.28, 5.18), white)
    for left in (x0, window_at + 0.03):
        canvas.wall((left, 0.9, 5.17), (left + 0.97, 2.2, 5.17), tone(sky, 1.1), mix(sky, white, 0.8))
        for step in range(5):
            top = canvas.rng.uniform(1.05, 1.4)
            canvas.ball((left + step * 0.18, 0.9, 5.16), (left + step * 0.18 + 0.22, top, 5.16), colours["leaf"])
    for x, z in ((x0, 0.3), (x1, -0.3)):  # curtains, and the light that falls through the window
        canvas.wall((x - 0.25, 0.05, 5.1), (x + 0.2, 2.45, 5.1), tone(colours["fabric"], 1.1), colours["fabric"])
        canvas.shade([[(x - 0.5, 0, 4.4), (x + 0.2, 0, 4.4), (x + z, 0, 2.2), (x + z - 1, 0, 2.2)]], 0.2, white)


def _draw_ground(canvas: Canvas, colours: Mapping[str, Colour]) -> None:
    sky, leaf, grass = colours["sky"], colours["leaf"], colours["grass"]
    canvas.wall((-99, -9, 50), (99, 60, 50), sky, mix(sky, colours["white"], 0.75))
    clouds = [(canvas.rng.uniform(-30, 30), canvas.rng.uniform(10, 24)) for _ in range(6)]
    canvas.shade(
        [[(x - 9, y, 50), (x, y + 1.2, 50), (x + 9, y, 50), (x, y - 1.2, 50)] for x, y in clouds], 0.5, (255,) * 3
    )
    for step in range(26):
        x, across = step * 1.4 - 18 + canvas.rng.uniform(-0.4, 0.4), canvas.rng.uniform(1.6, 3.4)
        canvas.ball((x, -0.5, 18), (x + across, across, 18), mix(leaf, sky, canvas.rng.uniform(0.1, 0.4)))
    canvas.floor((-60, 0, 0.5), (60, 0, 18), tone(grass, 1.1), tone(grass, 0.8))
    trunk, leaf = canvas.rng.choice((-6.2, 6.2)), canvas.rng.choice([leaf, (96, 134, 72), (170, 96, 48)])
    canvas.block((trunk - 0.15, 0, 9.5), (trunk + 0.15, 3, 9.7), (98, 76, 58))
    for step in range(30):
        left, low = trunk + canvas.rng.uniform(-1.5, 0.5), 2.2 + canvas.rng.uniform(-0.4, 1.6)
        canvas.ball((left, low, 9.4), (left + 1, low + 1, 9.4), tone(leaf, 0.7 + step / 60))


def _house(storeys: int) -> list[Part]:
    """Return the parts of a house with one or more storeys: its walls, its flat roof and the windows of each storey."""
    top = 0.3 + storeys * 2.6
    parts: list[Part] = [
        ("brick", (-4.4, 0, 10), (4.4, top, 15)),
        ("dark", (-4.8, top - 0.2, 9.6), (4.8, top + 0.3, 15)),
    ]
    for y, x in ((1.0 + storey * 2.6, x) for storey in range(storeys) for x in (-3.2, -0.7, 1.8)):
        parts.append(("white", (x - 0.1, y - 0.1, 9.95), (x + 1.5, y + 1.5, 10)))
        parts += [("glass", (left, y, 9.93), (left + 0.66, y + 1.4, 9.94)) for left in (x, x + 0.74)]
    return parts


def _table(colour: str, left: float, right: float, top: float, near: float, far: float) -> list[Part]:
    """Return the parts of a table or chair: its legs, then its top, 6 cm thick. Positions are in metres."""
    corners = [(x, z) for z in (far - 0.1, near + 0.05) for x in (left + 0.05, right - 0.12)]
    legs: list[Part] = [(colour, (x, 0, z), (x + 0.07, top - 0.06, z + 0.07)) for x, z in corners]
    return [*legs, (colour, (left, top - 0.06, near), (right, top, far))]


_PLANT: list[Part] = [
    ("accent", (2.3, 0, 4.3), (2.65, 0.4, 4.6)),
    *(
        ("leaf", (x, y, 4.4), (x + 0.35, y + 0.5, 4.4))
        for x, y in ((2.15, 0.35), (2.45, 0.45), (2.25, 0.7), (2.35, 0.95))
    ),
]
_LAMP: list[Part] = [("dark", (-2.35, 0, 4.6), (-2.3, 1.5, 4.65)), ("light", (-2.55, 1.4, 4.6), (-2.1, 1.8, 4.6))]

SCENES: tuple[Scene, ...] = (
    Scene("Front façade", [
        ("path", (-0.8, 0, 2.5), (0.8, 0.02, 9.9)), ("white", (-0.9, 0, 9.9), (0.9, 2.65, 9.92)),
        ("accent", (-0.6, 0.1, 9.8), (0.6, 2.2, 9.9)),
        *(("leaf", (x, 0, 9.4), (x + 1.2, 1.0, 9.4)) for x in (-4.4, -3.4, -2.4, 1.4, 2.4, 3.4)),
    ], is_inside=False, has_house=True),
    Scene("Living room", [
        *_LAMP, *_PLANT, ("accent", (-1.8, 0, 2.4), (1.8, 0.01, 4.2)),
        ("fabric", (-1.3, 0.5, 4.6), (1.3, 0.95, 4.8)), ("fabric", (-1.3, 0.12, 3.9), (1.3, 0.5, 4.8)),
        ("accent", (-1.0, 0.5, 4.3), (-0.55, 0.85, 4.45)), ("white", (0.6, 0.5, 4.3), (1.0, 0.82, 4.45)),
        ("fabric", (-1.55, 0.1, 3.9), (-1.3, 0.7, 4.8)), ("fabric", (1.3, 0.1, 3.9), (1.55, 0.7, 4.8)),
        *_table("wood", -0.7, 0.7, 0.42, 2.7, 3.3), ("white", (-0.2, 0.42, 2.9), (0.15, 0.47, 3.1)),
    ]),
    Scene("Kitchen", [
        ("white", (-2.9, 0, 4.5), (2.9, 0.88, 5.1)), ("dark", (-2.9, 0.88, 4.48), (2.9, 0.93, 5.1)),
        *(("dark", (x, 0.7, 4.47), (x + 0.4, 0.73, 4.48)) for x in (-2.6, -1.8, -1.0, -0.2, 0.6, 1.4)),
        ("accent", (-2.9, 1.5, 4.8), (-1.4, 2.2, 5.1)), ("accent", (1.4, 1.5, 4.8), (2.1, 2.2, 5.1)),
        ("fabric", (2.15, 0, 4.4), (2.95, 2.0, 5.1)),
        ("accent", (-1.4, 0, 2.9), (1.4, 0.86, 3.6)), ("white", (-1.5, 0.86, 2.8), (1.5, 0.92, 3.7)),
        *(("dark", (x, 1.9, 3.2), (x + 0.02, 2.7, 3.22)) for x in (-0.8, 0.8)),
        *(("light", (x - 0.15, 1.65, 3.2), (x + 0.17, 1.95, 3.2)) for x in (-0.8, 0.8)),
        *(part for x in (-1.1, -0.2, 0.7) for part in _table("wood", x, x + 0.4, 0.62, 2.3, 2.7)),
    ]),
    Scene("Primary bedroom", [
        *_LAMP, ("fabric", (-2, 0, 2.2), (2, 0.01, 4)), ("wood", (-1.05, 0, 5.0), (1.05, 1.15, 5.15)),
        *_table("wood", 1.2, 1.8, 0.55, 4.6, 5.1), ("dark", (1.47, 0.55, 4.8), (1.53, 0.85, 4.85)),
        ("light", (1.33, 0.8, 4.8), (1.67, 1.1, 4.8)), ("white", (-0.95, 0.15, 3.1), (0.95, 0.55, 5.0)),
        *(("white", (x, 0.55, 4.5), (x + 0.8, 0.8, 4.8)) for x in (-0.85, 0.05)),
        ("accent", (-1.0, 0.2, 3.06), (1.0, 0.6, 4.3)),
    ]),
    Scene("Bathroom", [
        ("white", (1.1, 0, 4.6), (2.3, 0.15, 5.1)), ("wood", (1.1, 0.15, 4.6), (2.3, 0.75, 5.1)),
        ("white", (1.05, 0.75, 4.55), (2.35, 0.85, 5.1)), ("mirror", (1.25, 1.1, 5.1), (2.15, 2.0, 5.1)),
        ("accent", (-2.95, 0.9, 2.9), (-2.9, 1.5, 3.5)), ("white", (-2.3, 0, 3.6), (0.4, 0.6, 4.5)),
        ("mirror", (-2.2, 0.57, 3.7), (0.3, 0.61, 3.7)), ("fabric", (-0.9, 0, 2.5), (0.9, 0.02, 3.2)),
    ]),
    Scene("Dining room", [
        *_PLANT, *(part for x in (-1.0, 0.5) for part in _table("fabric", x, x + 0.5, 0.46, 4.3, 4.7)),
        *(("fabric", (x, 0.46, 4.65), (x + 0.5, 1.0, 4.7)) for x in (-1.0, 0.5)),
        *_table("wood", -1.4, 1.4, 0.76, 3.0, 4.2), ("white", (-0.3, 0.76, 3.5), (0.3, 0.86, 3.7)),
        *(("dark", (x, 1.9, 3.6), (x + 0.02, 2.7, 3.62)) for x in (-0.6, 0.6)),
        *(("light", (x - 0.19, 1.6, 3.6), (x + 0.21, 1.95, 3.6)) for x in (-0.6, 0.6)),
    ]),
    Scene("Garden", [
        *(("wood", (x / 2, 0, 13), (x / 2 + 0.47, 1.7, 13.1)) for x in range(-22, 22)),
        *(("leaf", (x, 0, 11), (x + 1.4, 1.1, 11)) for x in (-7.5, -6.4, -5, 4.2, 5.4, 6.6)),
        *(("wood", (-9, 0, z), (9, 0.05, z + 0.27)) for z in (4.2, 3.9, 3.6, 3.3, 3.0, 2.7, 2.4)),
        *(part for x in (-1.5, 0.9) for part in (
            *_table("accent", x, x + 0.6, 0.48, 3.2, 3.8), ("accent", (x, 0.48, 3.75), (x + 0.6, 1.1, 3.8)))),
        *_table("white", -0.4, 0.4, 0.55, 3.2, 3.8),
    ], is_inside=False),
)  # fmt: skip
"""The scenes of a listing's photos in order; after the last, they repeat from the first."""
