"""Official forms: a ruled table of printed names and filled values, a red seal at the foot."""

from dataclasses import dataclass

import numpy as np

from ocr_pipeline.preprocess.slips import company, person, pick
from ocr_pipeline.preprocess.synthesis.corpus import (
    Maker,
    address,
    date,
    form_number,
    identity_number,
    matter,
    office,
    opinion,
    phone,
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
from ocr_pipeline.preprocess.synthesis.stamps import press, press_across, random_seal, round_seal

_TITLES = (
    "居民信息登记表", "行政许可申请表", "房屋租赁登记备案表", "社会保险登记表",
    "临时救助申请审批表", "不动产登记申请书", "个体工商户登记表", "居住证申领表",
)  # fmt: skip
_NOTES = (
    "本表一式两份，申请人和受理单位各执一份。", "填表前请仔细阅读填表说明，字迹应当清晰工整。",
    "申请人对所填内容的真实性负责。", "涂改无效，复印件须加盖公章。",
    "受理单位应在五个工作日内作出决定。",
)  # fmt: skip


def _sex(random: np.random.Generator) -> str:
    return pick(random, "男女")


def _nation(random: np.random.Generator) -> str:
    return pick(random, ("汉族", "回族", "满族", "壮族", "苗族", "藏族"))


def _education(random: np.random.Generator) -> str:
    return pick(random, ("初中", "高中", "大专", "本科", "硕士研究生"))


def _marriage(random: np.random.Generator) -> str:
    return pick(random, ("未婚", "已婚", "离异"))


_SHORT: tuple[tuple[str, Maker], ...] = (
    ("姓名", person), ("性别", _sex), ("民族", _nation), ("出生日期", date),
    ("文化程度", _education), ("婚姻状况", _marriage), ("联系人", person), ("填表日期", date),
)  # fmt: skip
_LONG: tuple[tuple[str, Maker], ...] = (
    ("公民身份号码", identity_number), ("联系电话", phone), ("工作单位", company),
    ("申请事项", matter), ("受理单位", office),
)  # fmt: skip
_WIDE: tuple[tuple[str, Maker], ...] = (
    ("现住址", address), ("户籍地址", address), ("单位名称", company), ("申请事项", matter),
)  # fmt: skip
_SECTIONS = ("申请人信息", "家庭成员", "基本情况", "申请内容", "经营信息")
_VERDICTS = ("社区意见", "初审意见", "审批意见", "受理意见")


def draw_line(text: str, vertical: bool, kit: Kit, random: np.random.Generator) -> Sheet:
    """One line as a form carries it; its mark is the first one of the sheet."""
    pen = _filled_pen(kit, random) if random.random() < 0.7 else _print_pen(kit, random)
    size = int(random.integers(22, 50))
    if vertical:
        ink = pen.column(text, size, kit.fonts, random)
    else:
        ink = pen.ink(text, size, kit.fonts, random)
    colour = paper_colour(random, tinted=False)
    sheet, left, top = line_sheet(
        ink, lambda h, w: kit.ground(paper(h, w, colour, random), random), random
    )
    line: Colour = (50.0, 50.0, 50.0)
    if random.random() < 0.4:
        low = top + ink.shape[0] + int(random.integers(2, 8))
        sheet.rule((0, low), (sheet.width, low), line, int(random.integers(1, 3)))
    if random.random() < 0.25:
        side = left - int(random.integers(5, 8))
        sheet.rule((side, 0), (side, sheet.height), line, int(random.integers(1, 3)))
    angle = float(random.normal(0, 0.8)) if pen.kind == "hand" and not vertical else 0.0
    if not sheet.write(ink, left, top, pen.colour, text, angle=angle):
        sheet.write(ink, left, top, pen.colour, text)
    if random.random() < kit.degrade.stamp:
        seal = random_seal(office(random), kit.fonts, int(random.integers(60, 120)), random)
        press_across(sheet, seal, kit.worn(random), random)
    return sheet


def _filled_pen(kit: Kit, random: np.random.Generator) -> Pen:
    is_hand = bool(random.random() < 0.55)
    return Pen(
        "hand" if is_hand else "print",
        kit.fonts.pick(random),
        kit.worn(random) * 0.7,
        blue_pen(random) if is_hand else dark(random),
        tracking=float(random.uniform(0, 0.06)),
    )


def _print_pen(kit: Kit, random: np.random.Generator) -> Pen:
    return Pen(
        "print", kit.fonts.pick(random), kit.worn(random) * 0.6, dark(random),
        is_bold=bool(random.random() < 0.2),
    )  # fmt: skip


@dataclass(frozen=True)
class _Form:
    """One form being drawn."""

    sheet: Sheet
    kit: Kit
    random: np.random.Generator
    printer: Pen
    pen: Pen
    line: int

    def label(self, text: str, box: Box, size: int, place: float = 0.5) -> None:
        """A printed word."""
        ink = self.printer.ink(text, size, self.kit.fonts, self.random)
        put(self.sheet, ink, box, self.printer.colour, text, place=place)

    def value(self, text: str, box: Box, size: int, place: float = 0.05) -> None:
        """What was filled in; by hand it is neither level nor in the middle."""
        ink = self.pen.ink(text, size, self.kit.fonts, self.random)
        is_hand = self.pen.kind == "hand"
        put(
            self.sheet, ink, box, self.pen.colour, text, place=place,
            angle=float(self.random.normal(0, 0.7)) if is_hand else 0.0,
            shift=(0, int(self.random.integers(-3, 4))) if is_hand else (0, 0),
        )  # fmt: skip

    def frame(self, box: Box) -> None:
        """Rules around a cell."""
        colour = self.printer.colour
        corners = (
            (box.left, box.top), (box.right, box.top),
            (box.right, box.bottom), (box.left, box.bottom),
        )  # fmt: skip
        for start, end in zip(corners, (*corners[1:], corners[0]), strict=True):
            self.sheet.rule(start, end, colour, self.line)

    def field(self, name: str, value: str, box: Box, label_width: int) -> None:
        """A printed name and beside it a filled cell."""
        named = Box(box.left, box.top, box.left + label_width, box.bottom)
        cell = Box(named.right, box.top, box.right, box.bottom)
        self.frame(named)
        self.frame(cell)
        self.label(name, named, 21)
        self.value(value, cell, int(self.random.integers(22, 27)))


def draw_page(kit: Kit, random: np.random.Generator) -> Sheet:
    """One whole form, about 900 x 1200 px."""
    width, height = int(random.integers(860, 960)), int(random.integers(1140, 1260))
    colour = paper_colour(random, tinted=False)
    sheet = Sheet(kit.ground(paper(height, width, colour, random), random))
    form = _Form(
        sheet, kit, random, _print_pen(kit, random), _filled_pen(kit, random),
        line=int(random.integers(1, 3)),
    )  # fmt: skip
    table = Box(48, 168, width - 48, height - 150)
    size = int(random.integers(34, 42))
    town = office(random) if random.random() < 0.3 else ""
    form.label(town + pick(random, _TITLES), Box(60, 36, width - 60, 100), size)
    form.label(f"编号：{form_number(random)}", Box(48, 118, width // 2, 160), 19, place=0.0)
    form.label("填表日期：", Box(width - 330, 118, width - 218, 160), 19, place=1.0)
    form.value(date(random), Box(width - 222, 118, width - 48, 160), 22)
    _rows(form, table)
    _notes(form, Box(48, height - 140, width - 48, height - 20))
    return sheet


def _rows(form: _Form, table: Box) -> None:
    """Sections of fields, then opinions with signature and seal, down to the table's end."""
    random = form.random
    top, row = table.top, int(random.integers(48, 60))
    verdict = int(random.integers(150, 190))
    verdicts = int(random.integers(1, 3))
    sections = list(random.permutation(len(_SECTIONS)))
    while sections and top + 3 * row + verdicts * verdict <= table.bottom:
        count = int(random.integers(3, 5))
        count = min(count, (table.bottom - verdicts * verdict - top) // row)
        _section(
            form, _SECTIONS[sections.pop()], Box(table.left, top, table.right, top), row, count
        )
        top += count * row
    names = [_VERDICTS[int(n)] for n in random.permutation(len(_VERDICTS))[:verdicts]]
    for name in names:
        bottom = min(top + verdict, table.bottom)
        if bottom - top >= 130:
            _verdict(form, name, Box(table.left, top, table.right, bottom))
        top = bottom


def _section(form: _Form, name: str, box: Box, row: int, count: int) -> None:
    random = form.random
    side = Box(box.left, box.top, box.left + 44, box.top + count * row)
    form.frame(side)
    ink = form.printer.column(name, 21, form.kit.fonts, random)
    put(form.sheet, ink, side, form.printer.colour, name, place=0.5)
    for number in range(count):
        top = box.top + number * row
        cells = Box(side.right, top, box.right, top + row)
        chance = random.random()
        kinds = _WIDE if chance < 0.25 else _LONG if chance < 0.6 else _SHORT
        parts = 1 if kinds is _WIDE else 2 if kinds is _LONG else 3
        chosen = random.permutation(len(kinds))[:parts]
        wide = cells.width // parts
        for part, index in enumerate(chosen):
            title, maker = kinds[int(index)]
            right = cells.right if part == parts - 1 else cells.left + (part + 1) * wide
            cell = Box(cells.left + part * wide, top, right, top + row)
            form.field(title, maker(random), cell, 140 if parts < 3 else 104)


def _verdict(form: _Form, name: str, box: Box) -> None:
    random = form.random
    side = Box(box.left, box.top, box.left + 44, box.bottom)
    form.frame(box)
    form.frame(side)
    ink = form.printer.column(name, 21, form.kit.fonts, random)
    put(form.sheet, ink, side, form.printer.colour, name, place=0.5)
    form.value(
        opinion(random), Box(side.right + 20, box.top + 14, box.right - 20, box.top + 62), 27
    )
    low = box.bottom - 46
    form.label("签字：", Box(box.right - 440, low, box.right - 360, box.bottom - 6), 20, 1.0)
    form.value(person(random), Box(box.right - 360, low, box.right - 250, box.bottom - 6), 28)
    form.value(date(random), Box(box.right - 235, low, box.right - 15, box.bottom - 6), 23)
    if random.random() < form.kit.degrade.stamp * 1.5:
        radius = min(int(random.integers(64, 88)), box.height // 2 + 8)
        seal = round_seal(office(random)[:16], form.kit.fonts, radius, random)
        at = (box.right - int(random.integers(120, 300)), (box.top + box.bottom) // 2 + 10)
        press(form.sheet, seal, at, form.kit.worn(random), random)


def _notes(form: _Form, box: Box) -> None:
    random = form.random
    order = random.permutation(len(_NOTES))[: int(random.integers(1, 4))]
    for number, index in enumerate(order):
        top = box.top + 8 + number * 30
        text = (
            f"{number + 1}．{_NOTES[int(index)]}" if len(order) > 1 else f"注：{_NOTES[int(index)]}"
        )
        form.label(text, Box(box.left, top, box.right, top + 28), 18, place=0.0)
