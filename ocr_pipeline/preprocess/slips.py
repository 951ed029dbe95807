"""Texts of bank slips, made by grammar: amounts, dates, names, accounts. All invented."""

from collections.abc import Callable

import numpy as np

SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡"
GIVEN = "伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂文辉玲建国华红春梅鑫宇浩轩梓涵欣怡"
BANKS = ("工商银行", "农业银行", "建设银行", "交通银行", "招商银行", "农村信用社", "邮政储蓄银行")
PLACES = (
    "北京",
    "上海",
    "广州",
    "深圳",
    "成都",
    "武汉",
    "西安",
    "杭州",
    "南京",
    "重庆",
    "合肥",
    "长沙",
)
TRADES = (
    "商贸",
    "科技",
    "建材",
    "物流",
    "食品",
    "医药",
    "纺织",
    "电子",
    "机械",
    "餐饮",
    "广告",
    "印刷",
)
PURPOSES = (
    "货款",
    "工资",
    "房租",
    "水电费",
    "差旅报销",
    "设备采购",
    "劳务费",
    "往来款",
    "退款",
    "咨询服务费",
)
DIGITS = "零壹贰叁肆伍陆柒捌玖"


def slip_line(random: np.random.Generator) -> str:
    """Return one line as it stands on a slip, 6 to about 24 characters."""
    makers: tuple[Callable[[np.random.Generator], str], ...] = (
        _payer, _account, _amount, _amount_in_words, _date, _bank, company, _serial, _purpose,
    )  # fmt: skip
    return makers[int(random.integers(len(makers)))](random)


def slip_page(random: np.random.Generator) -> list[str]:
    """Return the lines of one whole slip."""
    return [
        "业务回单（付款）",
        _serial(random),
        _date(random),
        _payer(random),
        _account(random),
        _bank(random),
        company(random),
        _amount(random),
        _amount_in_words(random),
        _purpose(random),
    ]


def pick(random: np.random.Generator, choices: str | tuple[str, ...]) -> str:
    """One of the choices, each as likely."""
    return choices[int(random.integers(len(choices)))]


def digits(random: np.random.Generator, count: int) -> str:
    """``count`` digits."""
    return "".join(str(digit) for digit in random.integers(0, 10, count))


def person(random: np.random.Generator) -> str:
    """A name of two or three characters."""
    given = "".join(pick(random, GIVEN) for _ in range(int(random.integers(1, 3))))
    return pick(random, SURNAMES) + given


def _payer(random: np.random.Generator) -> str:
    return f"{pick(random, ('付款人', '收款人', '户名', '经办人'))}：{person(random)}"


def _account(random: np.random.Generator) -> str:
    return f"账号：62{digits(random, 17)}"


def _amount(random: np.random.Generator) -> str:
    return f"{pick(random, ('金额', '小写金额', '手续费', '账户余额'))}：¥{yuan(random):,.2f}"


def _amount_in_words(random: np.random.Generator) -> str:
    return f"大写：{in_words(int(yuan(random)))}元整"


def _date(random: np.random.Generator) -> str:
    year, month, day = random.integers((2015, 1, 1), (2027, 13, 29))
    hour, minute = random.integers((8, 0), (18, 60))
    return f"日期：{year}年{month:02d}月{day:02d}日 {hour:02d}:{minute:02d}"


def _bank(random: np.random.Generator) -> str:
    return f"开户行：{pick(random, BANKS)}{pick(random, PLACES)}分行"


def company(random: np.random.Generator) -> str:
    """A company of one town."""
    word = pick(random, GIVEN) + pick(random, GIVEN)
    return f"{pick(random, PLACES)}{word}{pick(random, TRADES)}有限公司"


def _serial(random: np.random.Generator) -> str:
    return f"流水号：{pick(random, 'ABCDEFGHJK')}{digits(random, 12)}"


def _purpose(random: np.random.Generator) -> str:
    return f"摘要：{pick(random, PURPOSES)} 柜员{digits(random, 4)}"


def yuan(random: np.random.Generator) -> float:
    """An amount of 10 to 1,000,000 yuan; small ones as often as large ones."""
    return round(float(10 ** random.uniform(1, 6)), 2)


def in_words(value: int) -> str:
    """Chinese capital numerals of 1 to 9,999,999."""
    if value >= 10_000:
        low = value % 10_000
        gap = "零" if 0 < low < 1000 else ""
        return f"{in_words(value // 10_000)}万{gap}{in_words(low) if low else ''}"
    words, pending_zero = "", False
    for unit, name in ((1000, "仟"), (100, "佰"), (10, "拾"), (1, "")):
        digit = value // unit % 10
        if digit:
            words += ("零" if pending_zero and words else "") + DIGITS[digit] + name
        pending_zero = digit == 0
    return words
