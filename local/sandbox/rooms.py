"""What do the rooms of a home look like? Each function draws one room on a canvas, in the colours of its listing."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from local.sandbox.pictures import BLACK, WHITE, Canvas, Colour, Point3, mix, tone

_WALLS: list[Colour] = [
    (238, 232, 220), (226, 230, 228), (214, 222, 214), (233, 220, 208), (208, 218, 228), (240, 238, 234),
    (222, 212, 200), (196, 206, 200), (228, 214, 214), (205, 203, 212),
]  # fmt: skip
_ACCENTS: list[Colour] = [
    (43, 92, 120), (176, 84, 52), (58, 104, 78), (150, 60, 70), (212, 160, 60), (88, 76, 124), (36, 58, 92),
    (188, 120, 96), (96, 124, 96), (60, 66, 74),
]  # fmt: skip
_WOODS: list[Colour] = [
    (176, 128, 84), (202, 164, 120), (120, 82, 56), (160, 130, 104), (218, 190, 154), (96, 68, 52),
]  # fmt: skip
_FABRICS: list[Colour] = [
    (196, 192, 184), (112, 124, 134), (172, 150, 126), (84, 96, 92), (206, 196, 176), (132, 96, 78), (72, 84, 108),
]  # fmt: skip
_SKIES: list[tuple[Colour, Colour]] = [
    ((92, 150, 214), (214, 232, 244)), ((128, 168, 206), (244, 232, 214)), ((96, 112, 168), (250, 190, 140)),
    ((150, 172, 190), (226, 230, 232)), ((70, 134, 206), (190, 222, 244)),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """The colours of one home, in and out, and what only its own photos share."""

    wall: Colour
    accent: Colour
    wood: Colour
    fabric: Colour
    sky: tuple[Colour, Colour]
    house: int
    """Which kind of building it is: 0 gabled, 1 modern, 2 flats."""


def look(rng: random.Random) -> Look:
    """Return the colours of a home."""
    return Look(
        rng.choice(_WALLS),
        rng.choice(_ACCENTS),
        rng.choice(_WOODS),
        rng.choice(_FABRICS),
        rng.choice(_SKIES),
        rng.randrange(3),
    )


@dataclass(frozen=True, slots=True)
class _Shell:
    """The inside of a room: half its width, its height and the depth of its back wall, in metres."""

    half: float
    high: float
    deep: float


def _wall_tiles(c: Canvas, box: tuple[float, float, float, float], z: float, size: float, colour: Colour) -> None:
    x0, y0, x1, y1 = box
    c.wall((x0, y0, x1, y1), z, colour)
    rows, columns = int((y1 - y0) / (size / 2)), int((x1 - x0) / size)
    for row in range(rows + 1):
        for column in range(columns + 1):
            left = x0 + column * size - (size / 2 if row % 2 else 0)
            low = y0 + row * size / 2
            a, b = max(x0, left + 0.006), min(x1, left + size - 0.006)
            top = min(y1, low + size / 2 - 0.006)
            if b > a and top > low:
                shade = tone(colour, c.rng.uniform(0.965, 1.045))
                c.wall((a, low, b, top), z, shade)


def _planks(c: Canvas, shell: _Shell, wood: Colour, wide: float = 0.22) -> None:
    count = math.ceil(2 * shell.half / wide)
    for index in range(count):
        x0 = -shell.half + index * wide
        x1 = min(shell.half, x0 + wide)
        z = shell.deep
        while z > 0.6:
            near = max(0.5, z - c.rng.uniform(0.9, 2.0))
            shade = tone(wood, c.rng.uniform(0.9, 1.08))
            c.polygon([(x0, 0, z), (x1, 0, z), (x1, 0, near), (x0, 0, near)], shade)
            c.line((x0, 0, near), (x1, 0, near), tone(wood, 0.72), 0.006)
            z = near
        c.line((x0, 0, shell.deep), (x0, 0, 0.5), tone(wood, 0.76), 0.004)


def _floor_tiles(c: Canvas, shell: _Shell, colour: Colour, size: float = 0.5) -> None:
    columns, rows = math.ceil(2 * shell.half / size), math.ceil(shell.deep / size)
    c.polygon(
        [(-shell.half, 0, shell.deep), (shell.half, 0, shell.deep), (shell.half, 0, 0.5), (-shell.half, 0, 0.5)],
        tone(colour, 0.8),
    )
    for column in range(columns):
        for row in range(rows):
            x0, z1 = -shell.half + column * size, shell.deep - row * size
            x1, z0 = min(shell.half, x0 + size - 0.012), max(0.5, z1 - size + 0.012)
            c.polygon([(x0, 0, z1), (x1, 0, z1), (x1, 0, z0), (x0, 0, z0)], tone(colour, c.rng.uniform(0.95, 1.03)))


def _room(c: Canvas, shell: _Shell, wall: Colour, floor: Callable[[], None]) -> None:
    h, t, d = shell.half, shell.high, shell.deep
    ceiling = mix(wall, (255, 255, 255), 0.72)
    c.polygon([(-h, t, d), (h, t, d), (h, t, 0.5), (-h, t, 0.5)], tone(ceiling, 0.93), ceiling)
    c.polygon([(-h, 0, d), (-h, t, d), (-h, t, 0.5), (-h, 0, 0.5)], tone(wall, 0.93), tone(wall, 0.82))
    c.polygon([(h, 0, d), (h, t, d), (h, t, 0.5), (h, 0, 0.5)], tone(wall, 0.86), tone(wall, 0.77))
    c.wall((-h, 0, h, t), d, tone(wall, 1.03), tone(wall, 0.95))
    floor()
    edges: list[list[Point3]] = [
        [(-h, 0, d), (h, 0, d)], [(-h, t, d), (h, t, d)], [(-h, 0, d), (-h, t, d)], [(h, 0, d), (h, t, d)],
        [(-h, 0, d), (-h, 0, 0.6)], [(h, 0, d), (h, 0, 0.6)], [(-h, t, d), (-h, t, 0.6)], [(h, t, d), (h, t, 0.6)],
    ]  # fmt: skip
    c.shade(edges, 0.5, 0.16)
    skirting = mix(wall, WHITE, 0.8)
    c.wall((-h, 0, h, 0.12), d - 0.01, skirting)
    for side in (-h, h):
        c.polygon([(side, 0, d), (side, 0.12, d), (side, 0.12, 0.5), (side, 0, 0.5)], tone(skirting, 0.92))


def _pane(c: Canvas, box: tuple[float, float, float, float], z: float, sky: tuple[Colour, Colour]) -> None:
    """What is seen through a window of the back wall: sky, far houses, trees; then its frame."""
    x0, y0, x1, y1 = box
    c.wall((x0, y0, x1, y1), z, mix(sky[0], WHITE, 0.25), mix(sky[1], WHITE, 0.5))
    x = x0
    while x < x1:
        wide = min(x1 - x, c.rng.uniform(0.12, 0.34))
        top = y0 + (y1 - y0) * c.rng.uniform(0.12, 0.5)
        c.wall((x, y0, x + wide, top), z, mix((120, 134, 156), sky[1], 0.55))
        x += wide
    for _ in range(14):
        across = c.rng.uniform(0.12, 0.3)
        place = (c.rng.uniform(x0 + across / 2, x1 - across / 2), y0 + across / 2 + c.rng.uniform(0, 0.1), z)
        c.ball(place, across, mix((74, 112, 72), sky[1], c.rng.uniform(0.15, 0.4)))


def _window(c: Canvas, box: tuple[float, float, float, float], shell: _Shell, home: Look, parts: int = 2) -> None:
    x0, y0, x1, y1 = box
    z = shell.deep - 0.005
    _pane(c, box, z, home.sky)
    frame = WHITE if home.house != 1 else (52, 54, 58)
    for index in range(parts + 1):
        x = x0 + (x1 - x0) * index / parts
        c.line((x, y0, z), (x, y1, z), frame, 0.06)
    for y in (y0, y1, y0 + (y1 - y0) * 0.68):
        c.line((x0 - 0.03, y, z), (x1 + 0.03, y, z), frame, 0.06)
    c.box((x0 - 0.1, y0 - 0.07, z - 0.14), (x1 + 0.1, y0 - 0.02, z), frame)
    middle = ((x0 + x1) / 2, (y0 + y1) / 2, z)
    c.glow(middle, (x1 - x0) * 2.6, 0.42, mix(home.sky[1], (255, 250, 238), 0.6))


def _sunlight(c: Canvas, box: tuple[float, float, float, float], shell: _Shell, slant: float) -> None:
    """Lay the window's light on the floor, slanted to one side."""
    x0, _, x1, y1 = box
    middle, z = (x0 + x1) / 2, shell.deep
    far, near = z - 1.0, max(1.2, z - 1.0 - y1 * 1.1)
    patches: list[list[Point3]] = []
    for a, b in ((x0, middle - 0.06), (middle + 0.06, x1)):
        s = slant * 0.35
        patches.append([(a + s, 0, far), (b + s, 0, far), (b + slant, 0, near), (a + slant, 0, near)])
    c.shade(patches, 0.46, 0.04, (255, 238, 206))


def _curtains(c: Canvas, box: tuple[float, float, float, float], shell: _Shell, colour: Colour) -> None:
    x0, _, x1, y1 = box
    z = shell.deep - 0.12
    c.line((x0 - 0.55, y1 + 0.16, z), (x1 + 0.55, y1 + 0.16, z), (70, 64, 60), 0.035)
    for start in (x0 - 0.5, x1 - 0.02):
        for fold in range(7):
            x = start + fold * 0.075
            shade = tone(colour, 1.04 if fold % 2 else 0.9)
            c.polygon(
                [(x, 0.04, z), (x + 0.08, 0.04, z), (x + 0.078, y1 + 0.15, z), (x, y1 + 0.15, z)],
                shade,
                tone(shade, 0.9),
            )


def _art(c: Canvas, x: float, y: float, size: tuple[float, float], z: float, home: Look) -> None:
    w, h = size
    c.shade([[(x, y - 0.05, z), (x + w + 0.04, y - 0.05, z), (x + w + 0.04, y + h, z), (x, y + h, z)]], 0.4, 0.03)
    c.box((x, y, z - 0.04), (x + w, y + h, z), (58, 48, 42))
    inner = 0.06
    z -= 0.05
    a, b, low, top = x + inner, x + w - inner, y + inner, y + h - inner
    c.wall((a, low, b, top), z, mix(home.accent, WHITE, 0.8), WHITE)
    ridge = [a + (b - a) * share for share in (0, 0.3, 0.55, 0.8, 1)]
    for colour, share in ((mix(home.accent, WHITE, 0.45), 0.62), (home.accent, 0.34)):
        hills: list[Point3] = [(x, low + (top - low) * share * c.rng.uniform(0.5, 1.1), z) for x in ridge]
        c.polygon([(a, low, z), *hills, (b, low, z)], colour, tone(colour, 0.85))
    c.ball((a + (b - a) * 0.7, low + (top - low) * 0.78, z), w * 0.16, mix(home.accent, (250, 190, 90), 0.75))


def _plant(c: Canvas, x: float, z: float, high: float) -> None:
    c.shade([[(x - 0.4, 0, z + 0.2), (x + 0.4, 0, z + 0.2), (x + 0.4, 0, z - 0.3), (x - 0.4, 0, z - 0.3)]], 0.4, 0.1)
    pot = c.rng.choice([(222, 214, 202), (176, 98, 66), (70, 72, 78)])
    top = high * 0.24
    c.polygon([(x - 0.14, 0, z), (x + 0.14, 0, z), (x + 0.2, top, z), (x - 0.2, top, z)], pot, tone(pot, 0.78))
    for _ in range(34):
        angle, reach = c.rng.uniform(-1.2, 1.2), high * c.rng.uniform(0.3, 0.74)
        tip = (x + math.sin(angle) * reach * 0.75, top + math.cos(angle) * reach, z)
        green = tone((66, 116, 70), c.rng.uniform(0.62, 1.3))
        wide = 0.05
        middle = ((x + tip[0]) / 2, (top + tip[1]) / 2 + 0.04)
        c.polygon([(x, top, z), (middle[0] - wide, middle[1], z), tip, (middle[0] + wide, middle[1] - wide, z)], green)


def _shadow(c: Canvas, x0: float, x1: float, z0: float, z1: float, strength: float = 0.55) -> None:
    c.shade([[(x0, 0, z1), (x1, 0, z1), (x1, 0, z0), (x0, 0, z0)]], strength, 0.09)


def _rug(c: Canvas, x0: float, x1: float, z0: float, z1: float, colour: Colour) -> None:
    for inset, shade in ((0.0, colour), (0.09, mix(colour, WHITE, 0.7)), (0.15, mix(colour, WHITE, 0.3))):
        corners: list[Point3] = [
            (x0 + inset, 0, z1 - inset), (x1 - inset, 0, z1 - inset), (x1 - inset, 0, z0 + inset),
            (x0 + inset, 0, z0 + inset),
        ]  # fmt: skip
        c.polygon(corners, shade, tone(shade, 1.06))
    for step in range(1, 9):
        z = z0 + 0.15 + (z1 - z0 - 0.3) * step / 9
        c.line((x0 + 0.2, 0, z), (x1 - 0.2, 0, z), mix(colour, WHITE, 0.5 if step % 2 else 0.12), 0.02)


def _table(c: Canvas, x0: float, x1: float, z0: float, z1: float, high: float, colour: Colour) -> None:
    _shadow(c, x0 - 0.05, x1 + 0.05, z0 - 0.1, z1)
    for x, z in ((x0 + 0.06, z1 - 0.08), (x1 - 0.12, z1 - 0.08), (x0 + 0.06, z0 + 0.04), (x1 - 0.12, z0 + 0.04)):
        c.box((x, 0, z), (x + 0.06, high, z + 0.06), tone(colour, 0.75))
    c.box((x0, high, z0), (x1, high + 0.06, z1), colour)


def _sofa(c: Canvas, x: float, z: float, wide: float, colour: Colour, accent: Colour) -> None:
    """A sofa that faces the camera, its left front corner at x, z."""
    _shadow(c, x - 0.1, x + wide + 0.1, z - 0.25, z + 0.9)
    c.box((x, 0.1, z + 0.62), (x + wide, 0.86, z + 0.9), tone(colour, 0.9))
    seats = 3 if wide > 2 else 2
    part = (wide - 0.4) / seats
    for index in range(seats):
        left = x + 0.2 + index * part
        c.cushion((left + 0.01, 0.42, z + 0.56), (left + part - 0.01, 0.9, 0), tone(colour, 1.02))
    c.box((x + 0.18, 0.1, z), (x + wide - 0.18, 0.32, z + 0.62), tone(colour, 0.88))
    for index in range(seats):
        left = x + 0.2 + index * part
        c.box((left + 0.008, 0.3, z - 0.02), (left + part - 0.008, 0.45, z + 0.6), colour)
    for left in (x, x + wide - 0.2):
        c.box((left, 0.08, z - 0.02), (left + 0.2, 0.64, z + 0.88), tone(colour, 0.97))
    c.cushion((x + 0.3, 0.44, z + 0.36), (x + 0.74, 0.82, 0), accent)
    c.cushion((x + wide - 0.78, 0.44, z + 0.36), (x + wide - 0.36, 0.8, 0), mix(accent, WHITE, 0.55))


def _floor_lamp(c: Canvas, x: float, z: float) -> None:
    c.line((x, 0, z), (x, 1.5, z), (48, 46, 46), 0.03)
    c.ball((x, 0.01, z), 0.34, (48, 46, 46), 0.08)
    shade = (246, 232, 204)
    c.polygon(
        [(x - 0.24, 1.42, z), (x + 0.24, 1.42, z), (x + 0.15, 1.8, z), (x - 0.15, 1.8, z)], shade, (255, 246, 222)
    )
    c.glow((x, 1.6, z), 2.2, 0.55)


def _pendant(c: Canvas, x: float, z: float, low: float, high: float, colour: Colour) -> None:
    c.line((x, low, z), (x, high, z), (40, 40, 42), 0.012)
    c.polygon([(x - 0.2, low, z), (x + 0.2, low, z), (x + 0.06, low + 0.24, z), (x - 0.06, low + 0.24, z)], colour)
    c.ball((x, low, z), 0.36, (255, 244, 214), 0.07)
    c.glow((x, low - 0.05, z), 1.5, 0.5)


def living_room(c: Canvas, home: Look) -> None:
    """A sofa before a large window, rug, low table, lamp and plant."""
    shell = _Shell(c.rng.uniform(2.7, 3.2), 2.75, c.rng.uniform(5.2, 6.0))
    _room(c, shell, home.wall, lambda: _planks(c, shell, home.wood))
    side = c.rng.choice((-1, 1))
    box = (-1.5 + side * 0.6, 0.75, 1.5 + side * 0.6, 2.4)
    _window(c, box, shell, home, parts=3)
    _curtains(c, box, shell, mix(home.fabric, WHITE, 0.45))
    _sunlight(c, box, shell, side * -1.1)
    _rug(c, -1.7, 1.7, 2.2, shell.deep - 1.3, mix(home.accent, home.fabric, 0.45))
    wide = c.rng.choice((1.9, 2.4))
    _floor_lamp(c, side * -(shell.half - 0.35), shell.deep - 0.5)
    _sofa(c, -wide / 2 + side * 0.2, shell.deep - 1.5, wide, home.fabric, home.accent)
    _plant(c, side * (shell.half - 0.4), shell.deep - 0.7, 1.7)
    _table(c, -0.65, 0.65, 2.75, 3.4, 0.38, tone(home.wood, 0.9))
    c.box((-0.25, 0.44, 2.95), (0.15, 0.48, 3.25), home.accent)
    c.box((-0.2, 0.48, 2.98), (0.1, 0.51, 3.2), WHITE)
    shelf = tone(home.wood, 0.8)
    x0, x1 = (-shell.half, -shell.half + 0.4) if side > 0 else (shell.half - 0.4, shell.half)
    c.box((x0, 0, 2.4), (x1, 0.55, 4.2), shelf)
    c.box((x0 + 0.1, 0.55, 2.9), (x1 - 0.1, 0.8, 3.1), home.accent)


def kitchen(c: Canvas, home: Look) -> None:
    """Cabinets along the back wall, an island with stools, pendant lamps."""
    shell = _Shell(2.6, 2.7, 5.0)
    _room(c, shell, home.wall, lambda: _planks(c, shell, tone(home.wood, 1.05)))
    fronts = mix(home.accent, WHITE, c.rng.choice((0.0, 0.55, 0.9)))
    counter = c.rng.choice([(236, 234, 230), (70, 70, 74), (196, 160, 116)])
    z = shell.deep
    _wall_tiles(c, (-shell.half, 0.9, shell.half, 1.55), z - 0.01, 0.2, mix(home.wall, WHITE, 0.7))
    _shadow(c, -shell.half, shell.half, z - 0.9, z - 0.5)
    _cupboards(c, (-shell.half, 0.1, shell.half, 0.88), (z - 0.62, z), 7, fronts)
    c.box((-shell.half, 0.88, z - 0.66), (shell.half, 0.93, z), counter)
    window = c.rng.choice((-1, 1))
    _window(c, (-0.7 + window, 1.15, 0.7 + window, 2.3), shell, home)
    for x0, x1 in ((-shell.half, -0.75 + window), (0.75 + window, shell.half)):
        if x1 - x0 > 0.4:
            _cupboards(c, (x0, 1.55, x1, 2.4), (z - 0.36, z), max(1, round((x1 - x0) / 0.55)), fronts)
    _stove(c, -window * 1.1, z)
    x0 = shell.half - 0.75 if window < 0 else -shell.half
    c.box((x0, 0, z - 1.5), (x0 + 0.75, 1.95, z - 0.75), (188, 192, 196))
    _island(c, home, fronts, counter)
    for x in (-0.7, 0.0, 0.7):
        _pendant(c, x, 2.7, 1.75, shell.high, home.accent)


def _cupboards(
    c: Canvas, box: tuple[float, float, float, float], depth: tuple[float, float], doors: int, colour: Colour
) -> None:
    x0, y0, x1, y1 = box
    front, back = depth
    c.box((x0, y0, front), (x1, y1, back), colour)
    wide = (x1 - x0) / doors
    for index in range(doors):
        a, b = x0 + index * wide + 0.025, x0 + (index + 1) * wide - 0.025
        corners: list[Point3] = [
            (a, y0 + 0.03, front),
            (b, y0 + 0.03, front),
            (b, y1 - 0.03, front),
            (a, y1 - 0.03, front),
        ]
        c.polygon(corners, tone(colour, 1.05), tone(colour, 0.93))
        for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
            c.line(start, end, tone(colour, 0.78), 0.008)
        knob = b - 0.06 if index % 2 == 0 else a + 0.06
        c.line((knob, y1 - 0.3, front), (knob, y1 - 0.12, front), (176, 146, 92), 0.018)


def _stove(c: Canvas, x: float, z: float) -> None:
    steel = (150, 154, 158)
    c.box((x - 0.32, 0.1, z - 0.65), (x + 0.32, 0.9, z), steel)
    c.wall((x - 0.24, 0.25, x + 0.24, 0.6), z - 0.66, (40, 42, 46), (20, 20, 24))
    c.line((x - 0.25, 0.68, z - 0.67), (x + 0.25, 0.68, z - 0.67), (220, 222, 224), 0.03)
    c.box((x - 0.12, 1.9, z - 0.3), (x + 0.12, 2.7, z), steel)
    c.polygon(
        [(x - 0.36, 1.6, z - 0.45), (x + 0.36, 1.6, z - 0.45), (x + 0.13, 1.95, z - 0.3), (x - 0.13, 1.95, z - 0.3)],
        tone(steel, 1.15),
        tone(steel, 0.8),
    )


def _island(c: Canvas, home: Look, fronts: Colour, counter: Colour) -> None:
    _shadow(c, -1.3, 1.3, 2.0, 3.2)
    c.box((-1.15, 0.05, 2.4), (1.15, 0.88, 3.1), mix(fronts, home.wood, 0.5))
    c.box((-1.3, 0.88, 2.25), (1.3, 0.95, 3.15), counter)
    c.ball((0.55, 1.02, 2.7), 0.42, mix(home.accent, WHITE, 0.6), 0.14)
    for offset, colour in ((-0.1, (196, 72, 52)), (0.02, (222, 160, 50)), (0.12, (120, 160, 70))):
        c.ball((0.55 + offset, 1.09, 2.7), 0.13, colour)
    for x in (-0.75, 0.0, 0.75):
        for leg in (-0.14, 0.12):
            c.line((x + leg, 0, 2.05), (x + leg * 0.8, 0.62, 2.05), (60, 54, 50), 0.03)
        c.box((x - 0.19, 0.62, 1.95), (x + 0.19, 0.68, 2.25), home.wood)


def bedroom(c: Canvas, home: Look) -> None:
    """A made bed between two bedside tables, art above it."""
    shell = _Shell(c.rng.uniform(2.3, 2.7), 2.6, 5.0)
    _room(c, shell, mix(home.wall, home.accent, 0.12), lambda: _planks(c, shell, home.wood, 0.16))
    z = shell.deep
    side = c.rng.choice((-1, 1))
    x = side * -0.35
    panel = mix(home.accent, home.wall, 0.25)
    c.wall((-shell.half, 0.12, shell.half, 1.3), z - 0.01, tone(panel, 1.05), tone(panel, 0.85))
    for step in range(1, 22):
        at = -shell.half + 2 * shell.half * step / 22
        c.line((at, 0.12, z - 0.02), (at, 1.3, z - 0.02), tone(panel, 0.82), 0.012)
    _window_left(c, shell, home, side)
    _art(c, x - 0.55, 1.55, (1.1, 0.7), z - 0.01, home)
    _rug(c, x - 1.5, x + 1.5, 1.7, 3.6, mix(home.fabric, WHITE, 0.4))
    for left in (x - 1.45, x + 0.95):
        _shadow(c, left, left + 0.5, z - 0.6, z - 0.1)
        c.box((left, 0.1, z - 0.5), (left + 0.5, 0.52, z - 0.05), home.wood)
        c.line((left + 0.25, 0.52, z - 0.3), (left + 0.25, 0.75, z - 0.3), (70, 60, 52), 0.04)
        lamp = (250, 236, 206)
        c.polygon(
            [
                (left + 0.08, 0.74, z - 0.3),
                (left + 0.42, 0.74, z - 0.3),
                (left + 0.35, 1.02, z - 0.3),
                (left + 0.15, 1.02, z - 0.3),
            ],
            (255, 248, 228),
            lamp,
        )
        c.glow((left + 0.25, 0.9, z - 0.3), 1.5, 0.55)
    _bed(c, x, z, home)


def _bed(c: Canvas, x: float, z: float, home: Look) -> None:
    linen = (240, 237, 231)
    _shadow(c, x - 1.0, x + 1.0, z - 2.5, z, 0.65)
    c.box((x - 0.9, 0, z - 0.16), (x + 0.9, 1.15, z - 0.05), tone(home.fabric, 0.85))
    c.box((x - 0.85, 0.12, z - 2.2), (x + 0.85, 0.34, z - 0.16), tone(home.wood, 0.85))
    c.box((x - 0.84, 0.34, z - 2.2), (x + 0.84, 0.6, z - 0.16), linen)
    c.box((x - 0.88, 0.32, z - 2.24), (x + 0.88, 0.64, z - 0.85), mix(home.fabric, WHITE, 0.5))
    c.box((x - 0.885, 0.31, z - 2.0), (x + 0.885, 0.655, z - 1.45), home.accent)
    for left in (x - 0.78, x + 0.06):
        c.cushion((left, 0.6, z - 0.4), (left + 0.72, 1.02, 0), linen)
    for left in (x - 0.62, x + 0.12):
        c.cushion((left, 0.62, z - 0.6), (left + 0.5, 0.96, 0), mix(home.accent, WHITE, 0.35))
    c.cushion((x - 0.26, 0.63, z - 0.75), (x + 0.26, 0.86, 0), home.accent)


def _window_left(c: Canvas, shell: _Shell, home: Look, side: int) -> None:
    """A window in a side wall, and its light on the floor."""
    x = side * shell.half
    z0, z1, y0, y1 = 2.0, 3.7, 0.85, 2.25
    light = mix(home.sky[1], (255, 255, 255), 0.45)
    c.polygon([(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)], mix(home.sky[0], WHITE, 0.4), light)
    for z in (z0, (z0 + z1) / 2, z1):
        c.line((x, y0, z), (x, y1, z), WHITE, 0.05)
    for y in (y0, y1):
        c.line((x, y, z0), (x, y, z1), WHITE, 0.05)
    c.glow((x, 1.5, (z0 + z1) / 2), 3.4, 0.35, (255, 246, 228))
    reach = -side * 1.5
    patch: list[Point3] = [
        (x + reach * 0.4, 0, z1),
        (x + reach, 0, z1 - 0.3),
        (x + reach, 0, z0 - 0.3),
        (x + reach * 0.4, 0, z0),
    ]
    c.shade([patch], 0.45, 0.05, (255, 238, 206))


def bathroom(c: Canvas, home: Look) -> None:
    """A tub below a tiled wall, a basin with a lit mirror."""
    shell = _Shell(1.9, 2.5, 3.9)
    wall = mix(home.wall, WHITE, 0.5)
    tile = mix(home.accent, WHITE, c.rng.choice((0.35, 0.6, 0.85)))
    _room(c, shell, wall, lambda: _floor_tiles(c, shell, mix(home.fabric, (120, 124, 128), 0.4), 0.42))
    z = shell.deep
    _wall_tiles(c, (-shell.half, 0, shell.half, 1.9), z - 0.01, c.rng.choice((0.2, 0.3)), tile)
    side = c.rng.choice((-1, 1))
    _tub(c, side, z)
    x = -side * 0.95
    c.box((x - 0.5, 0.3, z - 0.5), (x + 0.5, 0.78, z), home.wood)
    c.line((x - 0.5, 0.54, z - 0.51), (x + 0.5, 0.54, z - 0.51), tone(home.wood, 0.7), 0.012)
    c.box((x - 0.55, 0.78, z - 0.54), (x + 0.55, 0.84, z), WHITE)
    c.box((x - 0.26, 0.84, z - 0.42), (x + 0.26, 0.97, z - 0.1), WHITE)
    c.line((x, 0.97, z - 0.08), (x, 1.14, z - 0.08), (190, 160, 104), 0.03)
    c.glow((x, 1.65, z), 2.2, 0.6, (255, 244, 220))
    c.ball((x, 1.65, z - 0.02), 0.92, (196, 164, 108))
    c.ball((x, 1.65, z - 0.03), 0.86, mix(wall, (196, 214, 222), 0.6))
    c.polygon(
        [(x - 0.3, 1.5, z - 0.04), (x - 0.1, 1.35, z - 0.04), (x + 0.3, 1.85, z - 0.04), (x + 0.14, 1.98, z - 0.04)],
        (232, 240, 242),
    )
    c.line((side * shell.half * 0.97, 1.25, 2.2), (side * shell.half * 0.97, 1.25, 2.9), (180, 150, 98), 0.03)
    edge = side * shell.half * 0.965
    c.polygon(
        [(edge, 0.65, 2.3), (edge, 0.65, 2.8), (edge, 1.25, 2.8), (edge, 1.25, 2.3)],
        home.accent,
        tone(home.accent, 0.8),
    )
    _plant(c, -side * (shell.half - 0.28), z - 1.3, 0.95)


def _tub(c: Canvas, side: int, z: float) -> None:
    x0, x1 = (0.05, 1.8) if side > 0 else (-1.8, -0.05)
    _shadow(c, x0 - 0.1, x1 + 0.1, z - 1.1, z - 0.1)
    c.box((x0, 0.06, z - 0.9), (x1, 0.58, z - 0.1), (246, 246, 244))
    inner: list[Point3] = [
        (x0 + 0.1, 0.585, z - 0.8),
        (x1 - 0.1, 0.585, z - 0.8),
        (x1 - 0.1, 0.585, z - 0.2),
        (x0 + 0.1, 0.585, z - 0.2),
    ]
    c.polygon(inner, (178, 206, 214), (214, 230, 232))
    tap = (x0 + x1) / 2
    c.line((tap, 0.6, z - 0.06), (tap, 0.95, z - 0.06), (190, 160, 104), 0.035)
    c.line((tap, 0.93, z - 0.06), (tap, 0.9, z - 0.35), (190, 160, 104), 0.035)
    c.box((x0 + 0.2, 1.3, z - 0.14), (x1 - 0.2, 1.34, z), (206, 200, 190))
    for step in range(4):
        left = x0 + 0.3 + step * 0.28
        bottle = c.rng.choice([(120, 86, 60), (226, 220, 208), (90, 120, 110)])
        c.box((left, 1.34, z - 0.1), (left + 0.09, 1.34 + c.rng.uniform(0.14, 0.26), z - 0.02), bottle)


def dining_room(c: Canvas, home: Look) -> None:
    """A long table with chairs under two lamps."""
    shell = _Shell(2.5, 2.7, 5.4)
    _room(c, shell, mix(home.wall, home.accent, 0.18), lambda: _planks(c, shell, home.wood))
    box = (-1.9, 0.4, -0.3, 2.35) if c.rng.random() < 0.5 else (0.3, 0.4, 1.9, 2.35)
    _window(c, box, shell, home)
    _art(c, 0.5 if box[0] < 0 else -1.6, 1.2, (1.1, 0.8), shell.deep - 0.01, home)
    _sunlight(c, box, shell, -0.8 if box[0] > 0 else 0.8)
    _rug(c, -1.6, 1.6, 2.0, 4.6, mix(home.accent, WHITE, 0.4))
    chair = tone(home.fabric, 0.95)
    for x in (-0.55, 0.15):
        c.box((x, 0.42, 4.1), (x + 0.42, 0.95, 4.16), chair)
    _table(c, -0.85, 0.85, 2.5, 4.0, 0.74, home.wood)
    c.ball((0, 0.9, 3.2), 0.3, mix(home.accent, WHITE, 0.4), 0.2)
    for step in range(9):
        c.ball(
            (-0.2 + step * 0.05, 1.05 + 0.08 * math.sin(step * 2.1), 3.2), 0.13, tone((92, 140, 84), 0.8 + step * 0.05)
        )
    for side in (-1, 1):
        for z in (3.5, 2.75):
            x0, x1 = (0.95, 1.35) if side > 0 else (-1.35, -0.95)
            _shadow(c, x0, x1, z - 0.1, z + 0.4, 0.35)
            c.box((x0, 0.42, z), (x1, 0.48, z + 0.42), chair)
            for leg in (x0 + 0.02, x1 - 0.06):
                c.box((leg, 0, z), (leg + 0.04, 0.42, z + 0.04), tone(home.wood, 0.7))
            back = x1 - 0.05 if side > 0 else x0
            c.box((back, 0.48, z), (back + 0.05, 1.0, z + 0.42), tone(chair, 0.92))
    for x in (-0.4, 0.4):
        _pendant(c, x, 3.2, 1.7, shell.high, tone(home.accent, 0.8))


def empty_floor(c: Canvas, home: Look) -> None:
    """An empty room with new floorboards and a tall window."""
    shell = _Shell(2.6, 2.9, c.rng.uniform(4.6, 6.4))
    _room(c, shell, home.wall, lambda: _planks(c, shell, home.wood, 0.14))
    box = (-1.3, 0.25, 1.3, 2.5)
    _window(c, box, shell, home, parts=4)
    _sunlight(c, box, shell, c.rng.choice((-1.3, 1.3)))
    side = c.rng.choice((-1, 1)) * shell.half
    door = mix(home.wall, WHITE, 0.6)
    c.polygon([(side, 0, 2.3), (side, 0, 3.2), (side, 2.1, 3.2), (side, 2.1, 2.3)], tone(door, 0.98), tone(door, 0.85))
    for z in (2.3, 3.2):
        c.line((side, 0, z), (side, 2.1, z), WHITE, 0.07)
    c.line((side, 2.1, 2.3), (side, 2.1, 3.2), WHITE, 0.07)
    c.ball((side * 0.99, 1.0, 2.45), 0.06, (180, 150, 98))
    _plant(c, -side * 0.82, shell.deep - 0.6, 1.3)
    c.ball((0, shell.high, 3.4), 0.5, mix(home.wall, BLACK, 0.1), 0.1)
