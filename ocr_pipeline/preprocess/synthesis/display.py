"""Displays: seven segments and dots of light on meters, controllers and boards."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ocr_pipeline.preprocess.slips import pick
from ocr_pipeline.preprocess.synthesis.corpus import (
    clock,
    notice,
    number_shown,
    quantity,
    reading,
)
from ocr_pipeline.preprocess.synthesis.corpus import plate as plate_text
from ocr_pipeline.preprocess.synthesis.grounds import Ground, plate
from ocr_pipeline.preprocess.synthesis.inks import (
    SEGMENT_CHARACTERS,
    Lights,
    dot_lights,
    dot_rows,
    seven_segments,
)
from ocr_pipeline.preprocess.synthesis.kit import Box, Kit, Pen, dark, fitted, line_sheet, put
from ocr_pipeline.preprocess.synthesis.sheet import Alpha, Colour, Sheet

_LIGHTS: tuple[Colour, ...] = (
    (40, 45, 255), (40, 45, 255), (90, 255, 60), (20, 170, 255), (255, 150, 50), (245, 245, 240),
)  # fmt: skip
"""Red, red, green, amber, blue, white."""
_GLASS: tuple[Colour, ...] = (
    (138, 168, 156), (150, 172, 150), (170, 180, 175), (190, 150, 90), (110, 190, 170),
)  # fmt: skip
"""Grounds of liquid crystal: grey-green, green, grey, blue, yellow-green."""
_CASES: tuple[Colour, ...] = (
    (205, 208, 210), (190, 190, 185), (60, 58, 55), (35, 35, 35), (150, 120, 90), (110, 125, 110),
)  # fmt: skip


@dataclass(frozen=True)
class Screen:
    """One display.

    Attributes:
        emits: lights on a dark ground; else dark liquid crystal on a pale one.
        ground: colour of the ground.
        colour: of what is shown.
        ghost: how far parts that are not lit can be seen, 0 to 1.
        glow: how far light spreads, 0 to 1.
    """

    emits: bool
    ground: Colour
    colour: Colour
    ghost: float
    glow: float


def random_screen(random: np.random.Generator, *, emits: bool) -> Screen:
    """One of the usual kinds."""
    if emits:
        level = float(random.uniform(8, 38))
        return Screen(
            True, (level, level, level), _LIGHTS[int(random.integers(len(_LIGHTS)))],
            ghost=float(random.uniform(0, 0.12)), glow=float(random.uniform(0.2, 0.8)),
        )  # fmt: skip
    level = float(random.uniform(15, 60))
    return Screen(
        False, _GLASS[int(random.integers(len(_GLASS)))], (level, level, level * 0.8),
        ghost=float(random.uniform(0, 0.09)), glow=0.0,
    )  # fmt: skip


def draw_line(text: str, vertical: bool, kit: Kit, random: np.random.Generator) -> Sheet:
    """One line of a display or a plate; its mark is the first one of the sheet."""
    chance = random.random()
    segments = set(text) <= SEGMENT_CHARACTERS and not text.startswith((".", ":"))
    if vertical or (not segments and chance < 0.4):
        return _plate_line(text, vertical, kit, random)
    screen = random_screen(random, emits=bool(random.random() < (0.55 if segments else 0.85)))
    if segments and chance < 0.8:
        lights = seven_segments(text, int(random.integers(34, 76)), random)
    else:
        lights = _dots(text, int(random.integers(2, 4)), kit, random)
    sheet, left, top = line_sheet(
        lights.lit, lambda h, w: kit.ground(_glass(h, w, screen, random), random), random
    )
    show(sheet, lights, left, top, screen, text)
    return sheet


def _plate_line(text: str, vertical: bool, kit: Kit, random: np.random.Generator) -> Sheet:
    is_dark = bool(random.random() < 0.3)
    case: Colour = (45.0, 45.0, 45.0) if is_dark else _CASES[int(random.integers(2))]
    pen = _plate_pen(kit, random, is_dark=is_dark)
    size = int(random.integers(20, 42))
    if vertical:
        ink = pen.column(text, size, kit.fonts, random)
    else:
        ink = pen.ink(text, size, kit.fonts, random)
    sheet, left, top = line_sheet(
        ink, lambda h, w: kit.ground(plate(h, w, case, random), random), random
    )
    sheet.write(ink, left, top, pen.colour, text)
    return sheet


def _plate_pen(kit: Kit, random: np.random.Generator, *, is_dark: bool) -> Pen:
    pale = float(random.uniform(190, 240))
    colour = (pale, pale, pale) if is_dark else dark(random)
    bold = bool(random.random() < 0.25)
    return Pen("print", kit.fonts.pick(random), kit.worn(random) * 0.5, colour, is_bold=bold)


def _dots(text: str, pitch: int, kit: Kit, random: np.random.Generator) -> Lights:
    rows = dot_rows(text, random)
    mask = kit.fonts.line(text, rows, first=0, tracking=0.08)
    return dot_lights(mask, pitch, random)


def _glass(height: int, width: int, screen: Screen, random: np.random.Generator) -> Ground:
    return plate(height, width, screen.ground, random)


def show(sheet: Sheet, lights: Lights, left: int, top: int, screen: Screen, text: str) -> bool:
    """Show a text on a display.

    Returns:
        Whether it stands on the sheet as a whole; nothing is drawn where not.
    """
    height, width = lights.lit.shape
    inside = left >= 4 and top >= 4
    if not inside or left + width > sheet.width - 4 or top + height > sheet.height - 4:
        return False
    sheet.lay(lights.ghost * np.float32(screen.ghost), left, top, _ghost_colour(screen))
    if screen.emits:
        _glow(sheet, lights.lit, left, top, screen)
    else:
        # Liquid crystal throws a soft shadow on the mirror behind it.
        sheet.lay(lights.lit * np.float32(0.12), left + 2, top + 2, screen.colour)
    columns = np.flatnonzero(lights.lit.max(axis=0) > 0.2)
    first, last = int(columns[0]), int(columns[-1]) + 1
    lit = lights.lit[:, first:last] * np.float32(0.95 if screen.emits else 0.85)
    return sheet.write(np.asarray(lit, np.float32), left + first, top, screen.colour, text)


def _ghost_colour(screen: Screen) -> Colour:
    if screen.emits:
        b, g, r = screen.colour
        return 0.6 * b + 60, 0.6 * g + 60, 0.6 * r + 60
    return screen.colour


def _glow(sheet: Sheet, lit: Alpha, left: int, top: int, screen: Screen) -> None:
    reach = max(4, lit.shape[0] // 5)
    padded = cv2.copyMakeBorder(lit, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
    spread = cv2.GaussianBlur(padded, (0, 0), reach / 2.5) * np.float32(0.7 * screen.glow)
    sheet.lay(np.asarray(spread, np.float32), left - reach, top - reach, screen.colour)


def draw_page(kit: Kit, random: np.random.Generator) -> Sheet:
    """One meter, controller or board, about 800 x 600 px."""
    chance = random.random()
    if chance < 0.4:
        return _meter(kit, random)
    if chance < 0.7:
        return _controller(kit, random)
    return _board(kit, random)


def _window(sheet: Sheet, box: Box, screen: Screen, random: np.random.Generator) -> None:
    """The display's glass in its frame."""
    glass = plate(box.height, box.width, screen.ground, random)
    sheet.picture[box.top : box.bottom, box.left : box.right] = glass
    edge = (30.0, 30.0, 30.0) if not screen.emits else (75.0, 75.0, 75.0)
    corners = ((box.left, box.top), (box.right, box.bottom))
    cv2.rectangle(sheet.picture, *corners, edge, int(random.integers(2, 7)), cv2.LINE_AA)


def _meter(kit: Kit, random: np.random.Generator) -> Sheet:
    """A utility meter: a number on liquid crystal or lights, its unit, a printed plate."""
    width, height = int(random.integers(700, 860)), int(random.integers(540, 660))
    case = _CASES[int(random.integers(2))]
    sheet = Sheet(kit.ground(plate(height, width, case, random), random))
    _screws(sheet, random)
    pen = _plate_pen(kit, random, is_dark=False)
    _print(sheet, pen, plate_text(random), Box(90, 40, width - 90, 104), 36, kit, random, place=0.5)
    screen = random_screen(random, emits=bool(random.random() < 0.3))
    box = Box(90, 124, width - 90, 124 + int(random.integers(130, 200)))
    _window(sheet, box, screen, random)
    _reading(sheet, box, screen, kit, random)
    top = box.bottom + 26
    while top < height - 60:
        size = int(random.integers(19, 27))
        low, half = top + size + 14, width // 2
        _print(sheet, pen, plate_text(random), Box(84, top, half, low), size, kit, random)
        if random.random() < 0.6:
            box = Box(half + 20, top, width - 84, low)
            _print(sheet, pen, plate_text(random), box, size, kit, random)
        top = low + int(random.integers(4, 14))
    return sheet


def _reading(sheet: Sheet, box: Box, screen: Screen, kit: Kit, random: np.random.Generator) -> None:
    """A number to the right of a window, its unit behind it, what it is above it."""
    tall = random.random() < 0.5
    digit = round(box.height * (0.66 if tall else 0.5))
    unit = pick(random, ("kWh", "m³", "MPa", "℃", "kW", "GJ", "V", "L/h"))
    pen = Pen("print", 0, 0.0, screen.colour)
    ink = fitted(pen.ink(unit, 30, kit.fonts, random), 86, 40)
    text = number_shown(random)
    lights = _fitted_lights(seven_segments(text, digit, random), box.width - 150, digit)
    low = box.bottom - (box.height - digit) // (2 if tall else 4)
    left = box.right - 116 - lights.lit.shape[1]
    if show(sheet, lights, left, low - lights.lit.shape[0], screen, text):
        sheet.write(ink, box.right - 104, low - ink.shape[0], screen.colour, unit)
    if not tall:
        name = reading(random) if random.random() < 0.3 else notice(random)
        small = fitted(pen.ink(name, 24, kit.fonts, random), box.width - 40, box.height // 5)
        sheet.write(small, box.left + 16, box.top + 8, screen.colour, name)


def _controller(kit: Kit, random: np.random.Generator) -> Sheet:
    """A controller of a panel: two or three numbers in lights, small names beside them, keys."""
    width, height = int(random.integers(520, 660)), int(random.integers(480, 600))
    case = _CASES[2 + int(random.integers(2))]
    sheet = Sheet(kit.ground(plate(height, width, case, random), random))
    pen = _plate_pen(kit, random, is_dark=True)
    top = 40
    names = ("PV", "SV", "OUT") if random.random() < 0.6 else ("L1", "L2", "L3")
    for name in names[: int(random.integers(2, 4))]:
        screen = random_screen(random, emits=True)
        digit = int(random.integers(56, 92))
        box = Box(100, top, width - 110, top + digit + 34)
        _window(sheet, box, screen, random)
        text = clock(random) if random.random() < 0.12 else number_shown(random)
        lights = _fitted_lights(seven_segments(text, digit, random), box.width - 30, digit)
        left = box.right - 14 - lights.lit.shape[1]
        show(sheet, lights, left, box.bottom - 17 - lights.lit.shape[0], screen, text)
        _print(sheet, pen, name, Box(34, top, 96, box.bottom), 28, kit, random, place=0.5)
        unit = pick(random, ("℃", "%", "MPa", "V", "A", "Hz", "kW"))
        aside = Box(width - 106, box.bottom - 48, width - 20, box.bottom)
        _print(sheet, pen, unit, aside, 27, kit, random)
        top = box.bottom + 20
    if top < height - 90:
        _keys(sheet, pen, top, kit, random)
    _print(sheet, pen, plate_text(random), Box(60, height - 46, width - 60, height - 8), 24, kit,
           random, place=0.5)  # fmt: skip
    return sheet


def _keys(sheet: Sheet, pen: Pen, top: int, kit: Kit, random: np.random.Generator) -> None:
    """A row of keys, some with a word."""
    words = ("SET", "MODE", "OK", "RUN", "STOP", "设置", "复位", "启动", "停止", "AT")
    wide = (sheet.width - 80) // 4
    for number in range(4):
        left = 40 + number * wide
        box = Box(left + 6, top + 4, left + wide - 6, top + 44)
        corners = ((box.left, box.top), (box.right, box.bottom))
        cv2.rectangle(sheet.picture, *corners, (90, 90, 90), -1, cv2.LINE_AA)
        if random.random() < 0.7:
            _print(sheet, pen, pick(random, words), box, 22, kit, random, place=0.5)


def _board(kit: Kit, random: np.random.Generator) -> Sheet:
    """A board of lights with one to four rows."""
    pitch, count = int(random.integers(3, 5)), int(random.integers(1, 5))
    screen = random_screen(random, emits=True)
    rows = []
    for _ in range(count):
        maker = (notice, notice, reading, quantity)[int(random.integers(4))]
        text = maker(random)
        rows.append((text, _dots(text, pitch, kit, random)))
    frame = int(random.integers(24, 50))
    width = max(lights.lit.shape[1] for _, lights in rows) + 2 * frame + 40
    height = sum(lights.lit.shape[0] + 24 for _, lights in rows) + 2 * frame + 24
    case = _CASES[int(random.integers(len(_CASES)))]
    sheet = Sheet(kit.ground(plate(height, width, case, random), random))
    _window(sheet, Box(frame, frame, width - frame, height - frame), screen, random)
    is_centred, top = random.random() < 0.5, frame + 24
    several = bool(random.random() < 0.3)
    for text, lights in rows:
        spare = width - 2 * frame - 40 - lights.lit.shape[1]
        left = frame + 20 + (spare // 2 if is_centred else 0)
        if several:
            colour = _LIGHTS[int(random.integers(len(_LIGHTS)))]
            screen = replace(screen, colour=colour)
        show(sheet, lights, left, top, screen, text)
        top += lights.lit.shape[0] + 24
    return sheet


def _fitted_lights(lights: Lights, width: int, height: int) -> Lights:
    return Lights(fitted(lights.lit, width, height), fitted(lights.ghost, width, height))


def _print(
    sheet: Sheet,
    pen: Pen,
    text: str,
    box: Box,
    size: int,
    kit: Kit,
    random: np.random.Generator,
    *,
    place: float = 0.0,
) -> None:
    """Print a text on the case."""
    put(sheet, pen.ink(text, size, kit.fonts, random), box, pen.colour, text, place=place)


def _screws(sheet: Sheet, random: np.random.Generator) -> None:
    for x in (34, sheet.width - 34):
        for y in (34, sheet.height - 34):
            cv2.circle(sheet.picture, (x, y), 13, (120, 120, 120), -1, cv2.LINE_AA)
            angle = random.uniform(0, np.pi)
            way = np.array([np.cos(angle), np.sin(angle)]) * 11
            start = (round(x - way[0]), round(y - way[1]))
            end = (round(x + way[0]), round(y + way[1]))
            sheet.rule(start, end, (60, 60, 60), 2)
