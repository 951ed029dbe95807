"""Texts: invented by grammar for each domain, or taken out of a file of the user."""

from collections.abc import Callable, Sequence
from copy import copy
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np

from ocr_pipeline.errors import DataError
from ocr_pipeline.preprocess.slips import (
    BANKS,
    DIGITS,
    PLACES,
    company,
    digits,
    in_words,
    person,
    pick,
    slip_line,
    yuan,
)

Part = Literal["train", "val"]
Maker = Callable[[np.random.Generator], str]
_VAL_SHARE = 0.15
"""Share of all thinkable texts that validation keeps for itself."""
_LONGEST = 28
"""Most characters of a line out of a file."""
_ROADS = ("人民路", "中山路", "建设大街", "解放东路", "和平街", "长江路", "文昌巷", "科技二路")
_DISTRICTS = ("城关区", "高新区", "东湖区", "新城区", "江北区", "经开区", "鼓楼区", "滨河县")
_OPINIONS = (
    "情况属实，同意办理", "材料齐全，予以受理", "经审核，符合条件", "请补充有关证明材料",
    "同意，报上级部门审批", "已核对原件，与复印件一致", "不符合规定，退回申请人",
)  # fmt: skip
_OFFICES = (
    "行政审批服务局", "住房和城乡建设局", "人力资源和社会保障局", "公安局", "民政局",
    "自然资源和规划局", "市场监督管理局", "社区居民委员会",
)  # fmt: skip
_MATTERS = (
    "居住证申领", "营业执照变更", "社会保险登记", "房屋租赁备案", "生育登记", "食品经营许可",
    "临时救助申请", "户口迁移", "不动产登记", "机动车注册",
)  # fmt: skip
_NATIONS = ("汉族", "回族", "满族", "壮族", "苗族", "藏族", "维吾尔族", "蒙古族", "土家族")
_QUANTITIES = (
    ("kWh", 2), ("m³", 3), ("MPa", 3), ("kPa", 1), ("℃", 1), ("V", 1), ("A", 2), ("Hz", 2),
    ("kW", 2), ("mA", 2), ("%", 1), ("L/h", 1), ("t", 2), ("rpm", 0), ("mg/L", 2), ("GJ", 2),
)  # fmt: skip
_READINGS = (
    ("当前电量", "kWh"), ("正向有功总", "kWh"), ("累计流量", "m³"), ("瞬时流量", "L/h"),
    ("进水温度", "℃"), ("回水温度", "℃"), ("压力", "MPa"), ("室内温度", "℃"), ("剩余金额", "元"),
    ("当前电价", "元"), ("设定温度", "℃"), ("液位", "m"), ("湿度", "%"), ("转速", "rpm"),
    ("A相电压", "V"), ("B相电流", "A"), ("功率因数", ""),
)  # fmt: skip
_NOTICES = (
    "欢迎光临", "请插卡", "余额不足请充值", "设备运行正常", "请保持安全距离", "前方施工减速慢行",
    "一号窗口", "请排队等候", "停电检修", "车位已满", "自动", "手动", "故障报警",
)  # fmt: skip
_METERS = (
    "单相电子式电能表", "三相四线智能电能表", "超声波热量表", "智能水表", "膜式燃气表",
    "数显温控仪", "压力变送器", "电磁流量计",
)  # fmt: skip


def part_of(text: str, seed: int) -> Part:
    """Return the part that a text belongs to: the same wherever and whenever it is made up."""
    digest = blake2b(f"{seed}\0{text}".encode(), digest_size=8).digest()
    return "val" if int.from_bytes(digest, "big") < _VAL_SHARE * 2**64 else "train"


class FileTexts:
    """Lines cut out of a text file.

    Args:
        path: UTF-8; blank lines count for nothing.
        usable: says of a character whether it may be used; others end a piece of text.

    Raises:
        DataError: the file cannot be read, is not UTF-8, or holds no two usable characters in a
            row.
    """

    def __init__(self, path: Path, usable: Callable[[str], bool]) -> None:
        try:
            content = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise DataError(f"{path}: cannot read this text ({error.strerror})") from None
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 ({error.reason}); save the text as UTF-8") from None
        self._path = path
        known = {char: usable(char) for char in set(content)}
        kept = "".join(char if known[char] else "\n" for char in content)
        pieces = (" ".join(piece.split()) for piece in kept.split("\n"))
        self._pieces = [piece for piece in pieces if len(piece) > 1]
        self.left_out = sorted(
            char for char, good in known.items() if not good and not char.isspace()
        )
        if not self._pieces:
            raise DataError(
                f"{path}: no text that can be drawn (not drawable or not in the character set: "
                f"{''.join(self.left_out[:40])!r}); give another text, or fonts that have these"
            )

    def of_part(self, part: Part, seed: int) -> "FileTexts":
        """The same with the lines of one part alone: cuts of one line never stand in both parts.

        Raises:
            DataError: no line belongs to the part.
        """
        chosen = copy(self)
        chosen._pieces = [piece for piece in self._pieces if part_of(piece, seed) == part]
        if not chosen._pieces:
            raise DataError(
                f"{self._path}: none of its {len(self._pieces)} lines is for the {part} part; give "
                "a text of more lines, or another seed"
            )
        return chosen

    def __call__(self, random: np.random.Generator) -> str:
        """Return 2 to 28 characters in a row; Latin words are kept whole where that is possible."""
        piece = self._pieces[int(random.integers(len(self._pieces)))]
        length = int(random.integers(4, _LONGEST + 1))
        if len(piece) <= length:
            return piece
        start = int(random.integers(len(piece) - length + 1))
        text = piece[start : start + length]
        if " " in text[1:-1] and piece[max(start - 1, 0)].isascii():
            inner = text.split(" ")[1:-1] if start else text.split(" ")[:-1]
            text = " ".join(inner) if len("".join(inner)) > 1 else text
        return text.strip() if len(text.strip()) > 1 else piece[: length + 1].strip()


def bank_text(random: np.random.Generator) -> str:
    """A line of a bank slip, with or without its printed name."""
    makers: tuple[Maker, ...] = (
        slip_line, slip_line, capital_amount, amount, date, capital_date, account, company,
        bank_branch, person, purpose, serial,
    )  # fmt: skip
    return pick_maker(makers, random)(random)


def form_text(random: np.random.Generator) -> str:
    """A value, a printed name or a sentence of an official form."""
    makers: tuple[Maker, ...] = (
        identity_number, phone, address, address, opinion, office, matter, person, nation, date,
        form_number, _named_value,
    )  # fmt: skip
    return pick_maker(makers, random)(random)


def display_text(random: np.random.Generator) -> str:
    """What a meter or a display shows, or what its plate says; half of it are bare numbers."""
    makers: tuple[Maker, ...] = (
        number_shown, number_shown, number_shown, clock, quantity, quantity, reading, notice, plate
    )  # fmt: skip
    return pick_maker(makers, random)(random)


def any_text(random: np.random.Generator) -> str:
    """A line of any of the three domains."""
    makers: tuple[Maker, ...] = (bank_text, form_text, form_text, sentence, sentence, display_text)
    return pick_maker(makers, random)(random)


def pick_maker(makers: Sequence[Maker], random: np.random.Generator) -> Maker:
    return makers[int(random.integers(len(makers)))]


def capital_amount(random: np.random.Generator) -> str:
    """An amount in Chinese capital numerals, to the fen."""
    return in_capitals(round(yuan(random) * 100), prefix=random.random() < 0.4)


def in_capitals(fen: int, *, prefix: bool = False) -> str:
    """Write an amount in Chinese capital numerals.

    Args:
        fen: hundredths of a yuan, 100 to 999,999,999.
        prefix: whether 人民币 stands before it.
    """
    whole, jiao, last = fen // 100, fen // 10 % 10, fen % 10
    text = ("人民币" if prefix else "") + in_words(whole) + "元"
    if jiao:
        text += DIGITS[jiao] + "角"
    elif last:
        text += "零"
    return text + (DIGITS[last] + "分" if last else "整")


def amount(random: np.random.Generator) -> str:
    """An amount in digits."""
    mark = pick(random, ("¥", "￥", "RMB ", "CNY ", "", ""))
    return f"{mark}{yuan(random):,.2f}"


def date(random: np.random.Generator) -> str:
    """A date of 1950 to 2030 as forms and slips write it."""
    year, month, day = (int(n) for n in random.integers((1950, 1, 1), (2031, 13, 29)))
    ways = (
        f"{year}年{month:02d}月{day:02d}日", f"{year}年{month}月{day}日",
        f"{year}-{month:02d}-{day:02d}", f"{year}/{month:02d}/{day:02d}",
        f"{year}.{month:02d}.{day:02d}", f"{year}{month:02d}{day:02d}",
    )  # fmt: skip
    return pick(random, ways)


def capital_date(random: np.random.Generator) -> str:
    """A date in Chinese capital numerals as cheques have it."""
    year, month, day = (int(n) for n in random.integers((2010, 1, 1), (2030, 13, 29)))
    years = "".join(DIGITS[int(digit)] for digit in str(year))
    return f"{years}年{_capital_day(month)}月{_capital_day(day)}日"


def _capital_day(value: int) -> str:
    if value < 10:
        return "零" + DIGITS[value]
    tens = DIGITS[value // 10] + "拾"
    return tens + (DIGITS[value % 10] if value % 10 else "")


def account(random: np.random.Generator) -> str:
    """An account number, whole or in groups of four."""
    number = "62" + digits(random, int(random.choice((14, 17))))
    if random.random() < 0.4:
        return " ".join(number[n : n + 4] for n in range(0, len(number), 4))
    return number


def bank_branch(random: np.random.Generator) -> str:
    """A branch of a bank."""
    return f"{pick(random, BANKS)}{pick(random, PLACES)}{pick(random, _ROADS)}支行"


def purpose(random: np.random.Generator) -> str:
    """What a payment is for."""
    what = pick(random, ("货款", "工资", "房租", "水电费", "报销款", "采购款", "劳务费", "定金"))
    return f"{int(random.integers(1, 13))}月{what}"


def serial(random: np.random.Generator) -> str:
    """A number of a slip."""
    return (
        f"{pick(random, ('No.', 'NO:', '凭证号', ''))}{digits(random, int(random.integers(7, 15)))}"
    )


def identity_number(random: np.random.Generator) -> str:
    """Eighteen characters as an identity card has them, of a place that does not exist."""
    year, month, day = (int(n) for n in random.integers((1940, 1, 1), (2021, 13, 29)))
    last = pick(random, "0123456789X")
    return f"99{digits(random, 4)}{year}{month:02d}{day:02d}{digits(random, 3)}{last}"


def phone(random: np.random.Generator) -> str:
    """A telephone number that is not given out: mobiles do not start with 12, areas not with 00."""
    if random.random() < 0.6:
        return f"12{digits(random, 9)}"
    return f"00{digits(random, 2)}-{digits(random, int(random.integers(7, 9)))}"


def address(random: np.random.Generator) -> str:
    """An address."""
    town = f"{pick(random, PLACES)}市{pick(random, _DISTRICTS)}{pick(random, _ROADS)}"
    text = f"{town}{int(random.integers(1, 400))}号"
    if random.random() < 0.6:
        floor, door = random.integers(1, 33), random.integers(1, 5)
        text += f"{int(random.integers(1, 30))}栋{floor}{door:02d}室"
    return text


def opinion(random: np.random.Generator) -> str:
    """What an official writes."""
    text = pick(random, _OPINIONS)
    return text + pick(random, ("。", "", f"。{person(random)}"))


def office(random: np.random.Generator) -> str:
    """An authority."""
    return f"{pick(random, PLACES)}市{pick(random, ('', *_DISTRICTS))}{pick(random, _OFFICES)}"


def matter(random: np.random.Generator) -> str:
    """What is applied for."""
    return f"{pick(random, _MATTERS)}{pick(random, ('', '（首次）', '（变更）', '（补办）'))}"


def nation(random: np.random.Generator) -> str:
    """One of the peoples, and a second word so that there are several."""
    return f"{pick(random, _NATIONS)} {pick(random, ('男', '女'))}"


def form_number(random: np.random.Generator) -> str:
    """The number of a document."""
    year = int(random.integers(2010, 2028))
    kind = pick(random, ("政审", "民登", "建许", "社保", "公户", "市监"))
    return f"{kind}〔{year}〕{digits(random, int(random.integers(2, 6)))}号"


def _named_value(random: np.random.Generator) -> str:
    named: tuple[tuple[str, Maker], ...] = (
        ("姓名", person), ("联系电话", phone), ("住址", address), ("出生日期", date),
        ("证件号码", identity_number), ("申请事项", matter), ("受理单位", office),
        ("填表日期", date), ("编号", form_number), ("经办人", person),
    )  # fmt: skip
    name, maker = named[int(random.integers(len(named)))]
    return f"{name}：{maker(random)}"


def sentence(random: np.random.Generator) -> str:
    """A part of a sentence out of a letter or a notice."""
    subject = pick(
        random, ("本单位", "申请人", "该公司", "上述人员", person(random), company(random))
    )
    rest = (
        f"于{date(random)}提交申请", f"位于{address(random)}", "应当依法履行有关义务",
        f"共计支付{amount(random)}元", f"自{date(random)}起施行", "现将有关事项通知如下",
        f"负责{matter(random)}工作", f"联系电话{phone(random)}",
    )  # fmt: skip
    return subject + pick(random, rest) + pick(random, ("。", "，", "；", ""))


def number_shown(random: np.random.Generator) -> str:
    """A number as seven segments show it."""
    length, points = int(random.integers(2, 8)), int(random.integers(0, 4))
    number = digits(random, length)
    if 0 < points < length:
        number = f"{number[:-points]}.{number[-points:]}"
    return ("-" if random.random() < 0.12 else "") + number


def clock(random: np.random.Generator) -> str:
    """A time of day."""
    hour, minute, second = random.integers((0, 0, 0), (24, 60, 60))
    return f"{hour:02d}:{minute:02d}" + (f":{second:02d}" if random.random() < 0.4 else "")


def quantity(random: np.random.Generator) -> str:
    """A number with its unit."""
    unit, points = _QUANTITIES[int(random.integers(len(_QUANTITIES)))]
    return f"{10 ** random.uniform(0, 5):.{points}f}{pick(random, ('', ' '))}{unit}"


def reading(random: np.random.Generator) -> str:
    """A reading with its name."""
    name, unit = _READINGS[int(random.integers(len(_READINGS)))]
    value = f"{10 ** random.uniform(0, 4):.{int(random.integers(0, 4))}f}"
    return f"{name}{pick(random, ('', ' ', '：'))}{value}{unit}"


def notice(random: np.random.Generator) -> str:
    """What a board of lights tells people."""
    ways = (
        pick(random, _NOTICES) + pick(random, ("", " " + clock(random))),
        f"请{pick(random, 'ABCDE')}{digits(random, 3)}号到{int(random.integers(1, 20))}号窗口",
        f"开往{pick(random, PLACES)} {digits(random, 3)}路",
        f"剩余车位 {int(random.integers(0, 999))}",
        f"限速{int(random.integers(2, 13))}0 {pick(random, _NOTICES)}",
    )
    return pick(random, ways)


def plate(random: np.random.Generator) -> str:
    """What the plate of a meter says."""
    ways = (
        pick(random, _METERS), f"No.{digits(random, 9)}",
        f"型号 D{pick(random, 'DTSX')}{pick(random, 'SYZ')}{digits(random, 3)}",
        f"{pick(random, ('220V', '3×220/380V'))} {pick(random, ('5(60)A', '1.5(6)A'))} 50Hz",
        f"{int(random.integers(4, 65))}00imp/kWh", f"{random.integers(2005, 2027)}年制造",
        f"出厂编号{digits(random, 8)}", f"准确度 {pick(random, ('1级', '2级', '0.5S级'))}",
        f"{company(random)}",
    )  # fmt: skip
    return pick(random, ways)
