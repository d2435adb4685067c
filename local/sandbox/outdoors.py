"""What does a home look like from outside? Its façade, its garden and the view, in the colours of its listing."""

import math

from local.sandbox.pictures import WHITE, Canvas, Colour, Rectangle, mix, tone
from local.sandbox.rooms import Look

_BRICKS: list[Colour] = [(158, 92, 74), (176, 124, 98), (136, 104, 92), (204, 196, 186), (112, 116, 122)]
_GRASS: Colour = (104, 142, 78)
_GLASS: Colour = (86, 108, 130)


def facade(c: Canvas, home: Look) -> None:
    """The building from the street: a gabled house, a modern one, or flats."""
    _sky(c, home)
    _far_trees(c, home, 16.0)
    _ground(c, 11.0, _GRASS)
    [_gabled, _modern, _flats][home.house](c, home, c.rng.choice(_BRICKS))
    _tree(c, c.rng.choice((-1, 1)) * c.rng.uniform(5.4, 6.2), 8.2, c.rng.uniform(4.0, 5.4))
    for x in (-4.0, -3.2, -2.4, 2.5, 3.3, 4.1):
        _bush(c, x, 8.4, c.rng.uniform(0.7, 1.1))
    c.polygon([(-40, 0, 4.0), (40, 0, 4.0), (40, 0, 3.2), (-40, 0, 3.2)], (196, 192, 184))
    c.polygon([(-40, 0, 3.2), (40, 0, 3.2), (40, 0, 0.6), (-40, 0, 0.6)], (110, 112, 116), (84, 86, 90))


def garden(c: Canvas, home: Look) -> None:
    """A lawn with beds, a fence and a terrace with two chairs."""
    _sky(c, home)
    _far_trees(c, home, 15.0)
    _ground(c, 11.0, tone(_GRASS, 1.05))
    for index in range(46):
        x = -11.5 + index * 0.5
        plank = tone(mix(home.wood, (150, 146, 138), 0.4), c.rng.uniform(0.9, 1.08))
        c.wall((x, 0, x + 0.47, 1.7), 11, plank, tone(plank, 0.8))
    _tree(c, c.rng.choice((-4.2, 4.4, -3.4)), 9.0, c.rng.uniform(3.8, 4.8))
    for _ in range(26):
        side = c.rng.choice((-1, 1))
        _flower(c, side * c.rng.uniform(3.4, 6.5), c.rng.uniform(6.5, 10.2), home)
    for step in range(14):
        z = 2.4 + step * 0.13
        board = tone(home.wood, c.rng.uniform(0.92, 1.1))
        c.polygon([(-9, 0.06, z + 0.125), (9, 0.06, z + 0.125), (9, 0.06, z), (-9, 0.06, z)], board)
    c.shade([[(-1.6, 0.06, 3.6), (1.6, 0.06, 3.6), (1.6, 0.06, 2.9), (-1.6, 0.06, 2.9)]], 0.4, 0.08)
    for x in (-1.3, 0.7):
        _garden_chair(c, x, home.accent)
    c.box((-0.3, 0.5, 3.2), (0.3, 0.54, 3.6), WHITE)
    c.line((0, 0.06, 3.4), (0, 0.5, 3.4), (80, 80, 84), 0.05)


def balcony(c: Canvas, home: Look) -> None:
    """The view over the town from a balcony with a glass front."""
    _sky(c, home)
    for row, (z, pale) in enumerate(((60.0, 0.72), (44.0, 0.5), (32.0, 0.25))):
        _skyline(c, home, z, pale, 26.0 - row * 7)
    c.polygon([(-3, 0, 3.6), (3, 0, 3.6), (3, 0, 0.6), (-3, 0, 0.6)], (186, 182, 176), (160, 156, 150))
    for step in range(1, 7):
        z = 0.6 + step * 0.45
        c.line((-3, 0, z), (3, 0, z), (150, 146, 140), 0.012)
    for x in (-3.0, -1.0, 1.0, 3.0):
        c.line((x, 0, 3.6), (x, 1.08, 3.6), (70, 72, 76), 0.05)
    c.shade([[(-3, 0, 3.6), (3, 0, 3.6), (3, 1.05, 3.6), (-3, 1.05, 3.6)]], 0.25, 0.01, (214, 232, 240))
    c.line((-3.2, 1.08, 3.6), (3.2, 1.08, 3.6), (56, 58, 62), 0.07)
    side = c.rng.choice((-1, 1))
    _garden_chair(c, side * 1.2 - 0.3, home.accent)
    for x in (1.15, 1.8):
        c.box((-side * x - 0.16, 0, 3.1), (-side * x + 0.16, 0.36, 3.4), (196, 112, 80))
        c.ball((-side * x, 0.6, 3.25), 0.55, (84, 128, 76))
        c.ball((-side * x - 0.06, 0.68, 3.2), 0.3, tone((84, 128, 76), 1.2))


def _sky(c: Canvas, home: Look) -> None:
    c.polygon_2d([(0, 0), (1, 0), (1, 1), (0, 1)], *home.sky)
    for _ in range(5):
        x, y, wide = c.rng.uniform(-0.1, 0.95), c.rng.uniform(0.03, 0.3), c.rng.uniform(0.12, 0.3)
        puffs = [(x + wide * math.cos(a / 2), y + wide * 0.12 * math.sin(a / 2)) for a in range(13)]
        c.shade_2d([puffs], 0.55, 0.12, (255, 255, 255))


def _ground(c: Canvas, far: float, colour: Colour) -> None:
    c.polygon([(-60, 0, far), (60, 0, far), (60, 0, 0.55), (-60, 0, 0.55)], tone(colour, 1.1), tone(colour, 0.82))


def _far_trees(c: Canvas, home: Look, z: float) -> None:
    for index in range(28):
        x = -14 + index + c.rng.uniform(-0.4, 0.4)
        green = mix((72, 108, 70), home.sky[1], c.rng.uniform(0.1, 0.4))
        c.ball((x, 1.0, z), c.rng.uniform(2.2, 3.8), green)


def _skyline(c: Canvas, home: Look, z: float, pale: float, high: float) -> None:
    x = -z
    while x < z:
        wide, top = c.rng.uniform(3, 7), high * c.rng.uniform(0.2, 1.0) - 8
        wall = mix(c.rng.choice([(98, 112, 132), (132, 124, 122), (84, 100, 118)]), home.sky[1], pale)
        c.wall((x, -40, x + wide, top), z, wall, tone(wall, 0.85))
        for floor in range(1, 9):
            c.line((x + 0.5, top - floor * 1.4, z), (x + wide - 0.5, top - floor * 1.4, z), tone(wall, 1.16), 0.3)
        x += wide + c.rng.uniform(0, 1.2)


def _gabled(c: Canvas, home: Look, brick: Colour) -> None:
    z, half, high = 9.0, 4.2, 3.9
    roof = tone((84, 80, 84), c.rng.uniform(0.8, 1.2))
    _bricks(c, (-half, 0, half, high), z, brick)
    c.polygon(
        [(-half - 0.5, high, z), (half + 0.5, high, z), (half - 1.4, high + 2.2, z), (1.4 - half, high + 2.2, z)],
        tone(roof, 1.15),
        tone(roof, 0.85),
    )
    gable = -2.2 if c.rng.random() < 0.5 else 2.2
    c.polygon(
        [(gable - 2.0, high - 0.1, z - 0.3), (gable + 2.0, high - 0.1, z - 0.3), (gable, high + 2.0, z - 0.3)],
        mix(brick, WHITE, 0.55),
        mix(brick, WHITE, 0.4),
    )
    for side in (-1, 1):
        c.line((gable, high + 2.05, z - 0.35), (gable + side * 2.15, high - 0.15, z - 0.35), WHITE, 0.16)
    c.line((-half - 0.5, high, z), (half + 0.5, high, z), WHITE, 0.14)
    for x in (-3.3, 2.0):
        _pane(c, (x, 0.8, x + 1.3, 2.1), z, WHITE)
    for x in (-3.2, -0.55, 2.1):
        _pane(c, (x, 2.5, x + 1.1, 3.5), z, WHITE)
    _door(c, home, z, 0.0)


def _modern(c: Canvas, home: Look, brick: Colour) -> None:
    z, dark = 9.0, (52, 54, 58)
    side = c.rng.choice((-1, 1))
    c.box((-4.6, 0, z), (4.6, 3.0, z + 3), mix(WHITE, home.wall, 0.5))
    left, right = (-4.8, 1.4) if side < 0 else (-1.4, 4.8)
    c.box((left, 3.0, z - 0.8), (right, 6.0, z + 2), mix(brick, (226, 222, 216), 0.5))
    c.shade([[(left, 2.4, z), (right, 2.4, z), (right, 3.0, z), (left, 3.0, z)]], 0.5, 0.12)
    for step in range(12):
        x = left + 0.2 + step * 0.16
        c.line((x, 3.1, z - 0.85), (x, 5.9, z - 0.85), tone(home.wood, 0.85 + 0.02 * step), 0.11)
    _pane(c, (left + 2.6, 3.6, right - 0.4, 5.5), z - 0.82, dark)
    _pane(c, (-4.2, 0.3, -1.2, 2.3), z, dark)
    c.box((1.5, 0.05, z - 0.06), (4.3, 2.3, z), mix(home.wood, dark, 0.3))
    for y in (0.5, 0.95, 1.4, 1.85):
        c.line((1.5, y, z - 0.07), (4.3, y, z - 0.07), dark, 0.03)
    _door(c, home, z, 0.1)


def _flats(c: Canvas, home: Look, brick: Colour) -> None:
    z = 12.0
    c.box((-6.0, 0, z), (6.0, 11.0, z + 6), mix(brick, WHITE, 0.2))
    for floor in range(4):
        y = 2.9 + floor * 2.4
        for x in (-5.4, -2.4, 0.6, 3.6):
            _pane(c, (x, y + 0.2, x + 1.9, y + 1.9), z - 0.02, (60, 62, 66))
            c.box((x - 0.2, y - 0.12, z - 0.9), (x + 2.1, y, z), (214, 212, 208))
            c.wall((x - 0.2, y, x + 2.1, y + 0.8), z - 0.9, mix(home.accent, WHITE, 0.35), mix(home.accent, WHITE, 0.2))
    c.box((-6.1, 2.3, z - 0.5), (6.1, 2.6, z), tone(home.accent, 0.9))
    for x in (-5.6, -3.2, 1.4, 3.8):
        _pane(c, (x, 0.3, x + 1.9, 2.1), z - 0.02, (60, 62, 66))
    _door(c, home, z - 0.05, 0.0)


def _bricks(c: Canvas, wall: Rectangle, z: float, brick: Colour) -> None:
    x0, y0, x1, y1 = wall
    c.wall((x0, y0, x1, y1), z, tone(brick, 1.06), tone(brick, 0.9))
    for row in range(int((y1 - y0) / 0.16)):
        c.line((x0, y0 + row * 0.16, z), (x1, y0 + row * 0.16, z), tone(brick, 0.86), 0.02)
    for _ in range(150):
        x, y = c.rng.uniform(x0, x1 - 0.4), y0 + 0.16 * c.rng.randrange(int((y1 - y0) / 0.16))
        c.wall((x, y, x + 0.36, y + 0.13), z, tone(brick, c.rng.uniform(0.84, 1.14)))


def _pane(c: Canvas, box: Rectangle, z: float, frame: Colour) -> None:
    x0, y0, x1, y1 = box
    c.wall((x0, y0, x1, y1), z, mix(_GLASS, WHITE, 0.35), tone(_GLASS, 0.8))
    if c.rng.random() < 0.4:  # somebody is at home
        c.wall((x0, y0, x1, y1), z, (250, 226, 168), (226, 186, 122))
    c.polygon([(x0, y1, z), (x0 + (x1 - x0) * 0.4, y1, z), (x0, y0 + (y1 - y0) * 0.3, z)], mix(_GLASS, WHITE, 0.6))
    for x in (x0, (x0 + x1) / 2, x1):
        c.line((x, y0, z), (x, y1, z), frame, 0.09)
    for y in (y0, y1):
        c.line((x0, y, z), (x1, y, z), frame, 0.09)


def _door(c: Canvas, home: Look, z: float, x: float) -> None:
    c.polygon(
        [(x - 0.8, 0, z), (x + 0.8, 0, z), (x + 1.3, 0, 4.0), (x - 1.3, 0, 4.0)], (204, 198, 188), (184, 178, 168)
    )
    c.box((x - 0.8, 0, z - 0.5), (x + 0.8, 0.18, z), (190, 186, 180))
    c.box((x - 0.62, 0.18, z - 0.08), (x + 0.62, 2.45, z), WHITE)
    c.box((x - 0.48, 0.18, z - 0.1), (x + 0.48, 2.3, z), home.accent)
    c.wall((x - 0.3, 1.4, x + 0.3, 2.1), z - 0.12, mix(_GLASS, WHITE, 0.4), _GLASS)
    c.glow((x + 0.85, 2.0, z), 1.6, 0.5)


def _tree(c: Canvas, x: float, z: float, high: float) -> None:
    c.shade([[(x - 1.4, 0, z + 0.4), (x + 1.6, 0, z + 0.4), (x + 1.6, 0, z - 0.5), (x - 1.4, 0, z - 0.5)]], 0.4, 0.3)
    c.polygon([(x - 0.18, 0, z), (x + 0.18, 0, z), (x + 0.1, high * 0.7, z), (x - 0.1, high * 0.7, z)], (98, 76, 58))
    leaf = c.rng.choice([(78, 118, 66), (96, 134, 72), (170, 96, 48), (62, 104, 72)])
    for index in range(46):
        angle, reach = c.rng.uniform(0, math.tau), high * 0.27 * math.sqrt(c.rng.random())
        place = (x + math.cos(angle) * reach, high * 0.74 + math.sin(angle) * reach, z)
        c.ball(place, high * 0.16, tone(leaf, 0.7 + 0.5 * index / 46 + c.rng.uniform(-0.08, 0.08)))


def _bush(c: Canvas, x: float, z: float, across: float) -> None:
    for index in range(9):
        place = (x + c.rng.uniform(-0.3, 0.3), across * c.rng.uniform(0.2, 0.5), z)
        c.ball(place, across * 0.6, tone((70, 110, 68), 0.75 + index * 0.05))


def _flower(c: Canvas, x: float, z: float, home: Look) -> None:
    _bush(c, x, z, 0.5)
    bloom = c.rng.choice([home.accent, (214, 110, 130), (240, 206, 96), (188, 150, 214)])
    for _ in range(5):
        c.ball((x + c.rng.uniform(-0.25, 0.25), c.rng.uniform(0.25, 0.5), z - 0.1), 0.12, bloom)


def _garden_chair(c: Canvas, x: float, colour: Colour) -> None:
    for leg in (x + 0.03, x + 0.53):
        c.line((leg, 0.06, 3.1), (leg, 0.45, 3.1), (70, 70, 74), 0.04)
    c.box((x, 0.45, 3.05), (x + 0.6, 0.52, 3.5), colour)
    c.cushion((x, 0.5, 3.5), (x + 0.6, 1.1, 0), tone(colour, 0.92))
