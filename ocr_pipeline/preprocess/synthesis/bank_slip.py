"""Bank slips: a coloured form, values by dot matrix, print or pen, red stamps over them."""

from dataclasses import dataclass

import numpy as np

from ocr_pipeline.preprocess.slips import BANKS, PLACES, company, digits, person, pick, yuan
from ocr_pipeline.preprocess.synthesis.corpus import (
    account,
    bank_branch,
    capital_date,
    date,
    in_capitals,
    purpose,
    serial,
)
from ocr_pipeline.preprocess.synthesis.grounds import paper, paper_colour
from ocr_pipeline.preprocess.synthesis.kit import (
    Box,
    Kit,
    Pen,
    blue_pen,
    dark,
    line_sheet,
    put,
)
from ocr_pipeline.preprocess.synthesis.sheet import Colour, Sheet
from ocr_pipeline.preprocess.synthesis.stamps import press, press_across, random_seal

_TITLES = ("业务回单", "进账单", "电汇凭证", "客户回单", "转账凭证", "现金存款凭证", "特种转账凭证")
_COPIES = ("第一联回单联", "第二联记账凭证", "第三联收账通知", "客户留存")
_COLOURS: tuple[Colour, ...] = ((70, 110, 40), (130, 80, 30), (60, 55, 150), (60, 60, 60))
"""What forms are printed in: green, blue, red, grey."""


def draw_line(text: str, vertical: bool, kit: Kit, random: np.random.Generator) -> Sheet:
    """One line as a slip carries it; its mark is the first one of the sheet."""
    pen = _pen(kit, random)
    size = int(random.integers(22, 46))
    if vertical:
        ink = pen.column(text, size, kit.fonts, random)
    else:
        ink = pen.ink(text, size, kit.fonts, random)
    colour = paper_colour(random, tinted=True)
    sheet, left, top = line_sheet(
        ink, lambda h, w: kit.ground(paper(h, w, colour, random), random), random
    )
    form = pick_colour(random)
    if random.random() < 0.4:
        _rules_around(sheet, left, top, ink.shape, form, random)
    angle = 0.0 if vertical else float(random.normal(0, 0.5))
    if not sheet.write(ink, left, top, pen.colour, text, angle=angle):
        sheet.write(ink, left, top, pen.colour, text)
    if random.random() < kit.degrade.stamp:
        seal = random_seal(company(random), kit.fonts, int(random.integers(60, 110)), random)
        press_across(sheet, seal, kit.worn(random), random)
    return sheet


def pick_colour(random: np.random.Generator) -> Colour:
    """What one form is printed in."""
    base = _COLOURS[int(random.integers(len(_COLOURS)))]
    off = random.uniform(-15, 25, 3)
    return base[0] + float(off[0]), base[1] + float(off[1]), base[2] + float(off[2])


def _pen(kit: Kit, random: np.random.Generator) -> Pen:
    chance = random.random()
    kind = "needle" if chance < 0.62 else "print" if chance < 0.9 else "hand"
    return Pen(
        kind,
        kit.fonts.pick(random),
        kit.worn(random),
        blue_pen(random) if kind == "hand" else dark(random),
        is_bold=bool(random.random() < 0.2),
        tracking=float(random.uniform(0, 0.08)),
        seed=int(random.integers(2**32)),
    )


def _rules_around(
    sheet: Sheet,
    left: int,
    top: int,
    size: tuple[int, ...],
    colour: Colour,
    random: np.random.Generator,
) -> None:
    """Lines of the form near the text: below, above, at one side."""
    height, width = size
    low, high = top + height + int(random.integers(2, 9)), top - int(random.integers(3, 9))
    if random.random() < 0.7:
        sheet.rule((0, low), (sheet.width, low), colour, 1)
    if random.random() < 0.4:
        sheet.rule((0, high), (sheet.width, high), colour, 1)
    if random.random() < 0.3:
        side = left - 5 if random.random() < 0.5 else left + width + 5
        sheet.rule((side, 0), (side, sheet.height), colour, 1)


@dataclass(frozen=True)
class _Slip:
    """One slip being drawn: who writes what with which pen."""

    sheet: Sheet
    kit: Kit
    random: np.random.Generator
    form: Pen
    pen: Pen
    angle: float
    shift: tuple[int, int]

    def label(self, text: str, box: Box, size: int, place: float = 0.5) -> None:
        """A word of the form."""
        ink = self.form.ink(text, size, self.kit.fonts, self.random)
        put(self.sheet, ink, box, self.form.colour, text, place=place)

    def upright(self, text: str, box: Box, size: int) -> None:
        """A vertical word of the form."""
        ink = self.form.column(text, size, self.kit.fonts, self.random)
        put(self.sheet, ink, box, self.form.colour, text, place=0.5)

    def value(self, text: str, box: Box, size: int, place: float = 0.0) -> None:
        """What was filled in, a little out of place."""
        ink = self.pen.ink(text, size, self.kit.fonts, self.random)
        put(
            self.sheet, ink, box, self.pen.colour, text,
            place=place, angle=self.angle, shift=self.shift,
        )  # fmt: skip

    def frame(self, box: Box) -> None:
        """Rules around a cell."""
        colour = self.form.colour
        for start, end in (
            ((box.left, box.top), (box.right, box.top)),
            ((box.right, box.top), (box.right, box.bottom)),
            ((box.right, box.bottom), (box.left, box.bottom)),
            ((box.left, box.bottom), (box.left, box.top)),
        ):
            self.sheet.rule(start, end, colour, 1)


def draw_page(kit: Kit, random: np.random.Generator) -> Sheet:
    """One whole slip, about 1100 x 560 px."""
    width, height = int(random.integers(1020, 1200)), int(random.integers(540, 620))
    made_up = paper(height, width, paper_colour(random, tinted=True), random)
    sheet = Sheet(kit.ground(made_up, random))
    form = Pen("print", kit.fonts.pick(random), 0.0, pick_colour(random))
    slip = _Slip(
        sheet, kit, random, form, _pen(kit, random),
        angle=float(random.normal(0, 0.35)),
        shift=(int(random.integers(-5, 6)), int(random.integers(-4, 5))),
    )  # fmt: skip
    bottom = _table(slip, Box(40, 128, width - 70, height - 70))
    _head(slip, width)
    _foot(slip, Box(40, bottom + 6, width - 70, bottom + 44))
    copy = Box(width - 62, 150, width - 28, height - 90)
    slip.upright(pick(random, _COPIES), copy, 17)
    if random.random() < max(kit.degrade.stamp, 0.0):
        _stamp(slip, width, height)
    return sheet


def _head(slip: _Slip, width: int) -> None:
    random = slip.random
    title = pick(random, BANKS) + " " * int(random.random() < 0.3) + pick(random, _TITLES)
    slip.label(title, Box(width // 4, 20, 3 * width // 4, 72), int(random.integers(30, 38)))
    when = capital_date(random) if random.random() < 0.3 else date(random)
    slip.label("日期：", Box(40, 84, 110, 122), 20, place=1.0)
    slip.value(when, Box(108, 84, 108 + width // 3, 122), 22)
    slip.label("流水号：", Box(width - 420, 84, width - 310, 122), 20, place=1.0)
    slip.value(serial(random), Box(width - 312, 84, width - 70, 122), 22)


def _table(slip: _Slip, box: Box) -> int:
    """Payer, payee, amount, purpose; returns the bottom of the table, px."""
    random = slip.random
    row = box.height // 7
    middle = (box.left + box.right) // 2
    for side, who in ((box.left, "付款人"), (middle, "收款人")):
        end = middle if side == box.left else box.right
        head = Box(side, box.top, side + 40, box.top + 3 * row)
        slip.frame(head)
        slip.upright(who, head, 20)
        values = (
            ("全称", company(random) if random.random() < 0.7 else person(random)),
            ("账号", account(random)),
            ("开户银行", bank_branch(random)),
        )
        for number, (name, value) in enumerate(values):
            top = box.top + number * row
            label = Box(side + 40, top, side + 140, top + row)
            slip.frame(label)
            slip.label(name, label, 20)
            cell = Box(side + 140, top, end, top + row)
            slip.frame(cell)
            slip.value(value, cell, int(random.integers(22, 27)))
    return _amounts(slip, Box(box.left, box.top + 3 * row, box.right, box.bottom), row)


def _amounts(slip: _Slip, box: Box, row: int) -> int:
    random = slip.random
    fen = round(yuan(random) * 100)
    cut = box.left + round(box.width * 0.66)
    words = Box(box.left, box.top, box.left + 140, box.top + row)
    slip.frame(words)
    slip.label("金额（大写）", words, 19)
    slip.frame(Box(words.right, box.top, cut, words.bottom))
    slip.value(
        in_capitals(fen, prefix=random.random() < 0.5),
        Box(words.right, box.top, cut, words.bottom), 24,
    )  # fmt: skip
    slip.frame(Box(cut, box.top, box.right, words.bottom))
    slip.label("小写", Box(cut, box.top, cut + 70, words.bottom), 19)
    slip.value(f"¥{fen / 100:,.2f}", Box(cut + 70, box.top, box.right, words.bottom), 25, 0.9)
    rows = (
        ("用途", purpose(random), "凭证种类", pick(random, ("转账支票", "电汇", "现金", "本票"))),
        ("附加信息", f"{serial(random)}", "凭证号码", digits(random, 8)),
    )
    for number, (name, value, other, other_value) in enumerate(rows, start=1):
        top = box.top + number * row
        slip.frame(Box(box.left, top, box.left + 140, top + row))
        slip.label(name, Box(box.left, top, box.left + 140, top + row), 19)
        slip.frame(Box(box.left + 140, top, cut, top + row))
        slip.value(value, Box(box.left + 140, top, cut, top + row), 23)
        slip.frame(Box(cut, top, box.right, top + row))
        slip.label(other, Box(cut, top, cut + 110, top + row), 19)
        slip.value(other_value, Box(cut + 110, top, box.right, top + row), 23)
    return box.top + 3 * row


def _foot(slip: _Slip, box: Box) -> None:
    random = slip.random
    third = box.width // 3
    for number, name in enumerate(("会计主管", "复核", "经办")):
        left = box.left + number * third
        slip.label(f"{name}：", Box(left, box.top, left + 120, box.bottom), 18, place=1.0)
        value = person(random) if random.random() < 0.5 else f"柜员{digits(random, 5)}"
        slip.value(value, Box(left + 120, box.top, left + third, box.bottom), 21)


def _stamp(slip: _Slip, width: int, height: int) -> None:
    random = slip.random
    for _ in range(int(random.integers(1, 3))):
        owner = f"{pick(random, BANKS)}{pick(random, PLACES)}分行"
        seal = random_seal(owner, slip.kit.fonts, int(random.integers(62, 95)), random)
        at = (
            int(random.uniform(0.15, 0.9) * width),
            int(random.uniform(0.45, 0.85) * height),
        )
        press(slip.sheet, seal, at, slip.kit.worn(random), random)
