"""General text: what print on any page says, in Chinese and English, made up of common words.

Sentences have the grammar of the language and no meaning. Beside common words they hold characters
out of the first level of GB 2312 (3,755, chosen by how often they are used), so that a few thousand
lines show about all of these.
"""

from functools import lru_cache

import numpy as np

from ocr_pipeline.preprocess.slips import company, digits, person, pick
from ocr_pipeline.preprocess.synthesis.corpus import (
    Maker,
    account,
    address,
    amount,
    clock,
    date,
    identity_number,
    notice,
    office,
    phone,
    pick_maker,
    plate,
    quantity,
    reading,
    sentence,
)

_NARROW = 0.55
"""Width of a Latin letter or a digit, in Chinese characters."""
_MEDIAN, _SPREAD = 11.0, 0.55
"""Of the widths of lines of running text, in Chinese characters, and of their logarithm."""
_SHORTEST = 3.0
_ODD_WORDS = 0.5
"""Share of nouns that are characters of the first level instead."""


def _cut(words: str) -> tuple[str, ...]:
    return tuple(words.split())


_NOUNS = _cut(
    "城市 学校 医院 公园 图书馆 火车站 机场 超市 银行 邮局 餐厅 厨房 卧室 阳台 窗户 桌子 椅子 "
    "电脑 手机 相机 键盘 屏幕 软件 程序 文件 数据 网络 系统 工程 项目 计划 合同 报告 会议 问题 "
    "办法 经验 技术 科学 历史 文化 艺术 音乐 电影 小说 报纸 杂志 新闻 节目 比赛 足球 篮球 天气 "
    "温度 雨水 阳光 空气 森林 河流 海洋 山脉 草原 沙漠 岛屿 桥梁 道路 汽车 自行车 飞机 轮船 "
    "地铁 司机 乘客 医生 护士 教师 学生 工人 农民 警察 律师 记者 作家 演员 画家 朋友 邻居 父母 "
    "孩子 婴儿 老人 青年 居民 游客 顾客 经理 职员 专家 代表 委员 主任 苹果 香蕉 葡萄 西瓜 蔬菜 "
    "豆腐 鸡蛋 牛奶 面包 米饭 茶叶 咖啡 啤酒 食盐 白糖 酱油 兔子 老虎 狮子 大象 蝴蝶 蜜蜂 鸟儿 "
    "鱼类 植物 花朵 树木 种子 土壤 矿产 钢铁 石油 煤炭 玻璃 塑料 纸张 布料 衣服 裤子 帽子 鞋子 "
    "眼镜 手表 钥匙 雨伞 书包 铅笔 字典 地图 照片 信件 邮票 礼物 玩具 市场 价格 成本 利润 税收 "
    "预算 投资 贸易 商品 品牌 广告 客户 订单 仓库 物流 质量 标准 规则 法律 权利 责任 制度 政策 "
    "政府 社会 经济 环境 资源 能源 安全 健康 疾病 药品 手术 营养 睡眠 心情 梦想 思想 语言 文字 "
    "词汇 句子 声音 颜色 形状 长度 重量 速度 距离 方向 位置 时间 季节 春天 夏季 秋风 冬雪 早晨 "
    "夜晚 星期 世纪 故事 传统 节日 婚礼 家庭 房屋 建筑 楼梯 电梯 墙壁 屋顶 花园 院子 农村 工厂 "
    "车间 机器 设备 零件 仪器 实验室 研究所 大学 课程 教材 考试 成绩 答案 知识 能力 习惯 性格 "
    "态度 行为 情况 结果 原因 影响 关系 过程 阶段 范围 部分 整体 中心 边缘 表面 内部 基础 结构 "
    "功能 特点 优势 缺点 困难 挑战 机会 目标 任务 步骤 方案 意见 建议 协议 证据 案件 法院 事故 "
    "保险 赔偿 损失 奖金 工资 费用 押金 收据 发票 账户 密码 号码 地址 邮箱 网站 页面 按钮 菜单 "
    "图标 窗口 目录 版本 参数 模型 算法 芯片 电池 电源 线路 信号 频率 电压 压力 密度 体积 面积 "
    "角度 直径 公式 方程 概率 比例 图表 曲线"
)
_VERBS = _cut(
    "检查 修理 设计 制造 生产 销售 购买 运输 保存 打开 关闭 启动 停止 安装 删除 更新 下载 上传 "
    "搜索 浏览 阅读 书写 翻译 讨论 研究 分析 比较 选择 决定 批准 拒绝 提供 接受 支持 反对 保护 "
    "破坏 改善 提高 降低 增加 减少 控制 管理 组织 参加 举办 访问 参观 介绍 推荐 解释 证明 说明 "
    "表示 宣布 发布 公开 收集 整理 记录 统计 测量 计算 估计 预测 观察 发现 发明 创造 培养 训练 "
    "教育 学习 练习 复习 准备 完成 继续 结束 离开 到达 返回 等待 寻找 帮助 照顾 关心 尊重 信任 "
    "怀疑 担心 忘记 记得 喜欢 讨厌 羡慕 感谢 祝贺 欢迎 邀请 通知 提醒 警告 禁止 允许 要求 申请 "
    "登记 签订 履行 遵守 违反 处理 解决 调整 恢复 替换 连接 覆盖 包含 属于 显示 隐藏 复制 粘贴 "
    "拍摄 绘制 演奏 攀登 种植 收割 饲养 捕捞 烹饪 清洗 晾晒 缝补 折叠 搬运 堆放 悬挂 拆除 焊接 "
    "打磨 喷涂 灌溉"
)
_QUALITIES = _cut(
    "美丽 安静 热闹 干净 整齐 宽敞 狭窄 明亮 黑暗 温暖 寒冷 潮湿 干燥 新鲜 陈旧 锋利 柔软 坚硬 "
    "光滑 粗糙 简单 复杂 重要 普通 特殊 精确 模糊 清楚 稳定 危险 可靠 便宜 昂贵 丰富 聪明 勇敢 "
    "谨慎 诚实 善良 骄傲 谦虚 活泼 严肃 疲倦 饥饿 快乐 悲伤 愤怒 惊讶 健壮 瘦弱 年轻 古老 现代 "
    "先进 落后 合理 有效 及时 充分 完整 平衡 均匀 透明 鲜艳"
)
_MANNERS = _cut(
    "已经 正在 将要 曾经 常常 偶尔 非常 特别 更加 十分 稍微 几乎 大约 至少 最多 立即 逐渐 突然 "
    "终于 仍然 依然 确实 大概 也许 必须 应该 可以 能够 不得 不必 无法 愿意 首先 随后 最后 同时 "
    "共同 分别 互相 单独 都 也 就 还 又 再 才 不"
)
_LINKS = _cut(
    "因为 所以 但是 而且 如果 虽然 然后 因此 不过 由于 为了 除了 无论 只要 只有 即使 尽管 于是 "
    "此外 例如 总之 另外 从此"
)
_TIMES = _cut(
    "今天 昨天 明天 上午 下午 傍晚 去年 明年 本月 下周 周末 目前 近年来 当时 节日前后 三天以后 "
    "每年六月 凌晨 假期里 十年前"
)
_PEOPLE = _cut(
    "我 你 他 她 我们 你们 他们 大家 这位客人 那些人 每个人 其他单位 自己 双方 各地 本公司 谁"
)
_MEASURES = _cut(
    "个 本 张 条 只 件 台 辆 座 间 份 次 位 名 双 套 块 片 棵 种 米 吨 升 元 公里 千克 小时 分钟"
)
_NUMERALS = "一二三四五六七八九十百千万两零"
_ENDS = ("。", "。", "。", "！", "？", "；", "……")
_PAUSES = ("，", "，", "，", "，", "、", "：", "；")
_PAIRS = (("“", "”"), ("（", "）"), ("《", "》"), ("【", "】"), ("「", "」"), ("(", ")"))
_LATIN = _cut(
    "API HTTP JSON Python Linux Windows Android server config login update email WiFi USB GPS "
    "CPU GPU PDF Excel Word ISO QR App VIP SSD LED 4G 5G MB GB kg km cm OK PM2.5 Web Office "
    "Chrome Docker Git SQL Java data model test version A4 B2B X1 Pro Max Plus mini"
)
_ENGLISH = _cut(
    "the the the a a an of of to to and and in is for on with that this from at by as are was "
    "be or not have has it its can will may more than other new first last all any each between "
    "during before after under over into about time year people way day man thing woman life "
    "child world school state family student group country problem hand part place case week "
    "company system program question work government number night point home water room mother "
    "area money story fact month lot right study book eye job word business issue side kind "
    "head house service friend father power hour game line end member law car city community "
    "name president team minute idea body information back parent face others level office door "
    "health person art war history party result change morning reason research girl guy moment "
    "air teacher force education foot boy age policy process music market sense nation plan "
    "college interest death experience effect use class control field development role effort "
    "rate heart drug show leader light voice wife police mind price report decision son view "
    "relationship town road arm difference value building action season society tax director "
    "position player record paper space ground form event official matter center couple site "
    "project activity star table need court oil situation cost industry figure street image "
    "phone picture practice piece land product doctor wall patient worker news test movie north "
    "love support technology step baby computer type attention film tree source organization "
    "hair window evidence size choose quick brown jump lazy zone quiz box fix ask bring buy "
    "call carry catch check clean close cook cut draw drive eat explain fall feel find follow "
    "give grow hear help hold keep know learn leave listen look make meet move open pay play "
    "put read run say see sell send sit sleep speak spend stand start stop take talk teach tell "
    "think turn understand wait walk want wash watch wear win write"
)
_NAMES = _cut(
    "London Paris Beijing Tokyo Berlin Monday Friday March August John Mary Smith Wang Dr. Mr. "
    "No. Fig. USA"
)
_MARKS = "-/:+=*#@&%_~<>|$^!?…·—→℃×±≤≥√①②③●■★※§€£°"


def general_text(longest: int) -> Maker:
    """Return what makes lines up to so many Chinese characters wide; a Latin one has about half.

    Most of them are cut out of running text, as the lines of a page are; one in eight is made of
    any characters; the others are what stands in tables, forms and on screens. Between Chinese
    and Latin words there is no blank: whether a narrow gap is one, no reader can tell. Of signs
    that look the same (¥ and its full-width form) one is taken.
    """

    def make(random: np.random.Generator) -> str:
        chance = random.random()
        if chance < 0.47:
            text = _line_of(random, longest, _chinese_clause)
        elif chance < 0.6:
            text = _line_of(random, longest, _english_sentence)
        elif chance < 0.72:
            text = _line_of(random, longest, _mixed_clause)
        elif chance < 0.84:
            text = _line_of(random, longest, _any_characters)
        else:
            text = clipped(pick_maker(_SHORT, random)(random), longest)
        return text.replace("￥", "¥")

    return make


def width_of(text: str) -> float:
    """About how wide a line is, in Chinese characters."""
    return sum(_NARROW if ord(char) < 0x2000 else 1.0 for char in text)


def clipped(text: str, widest: float) -> str:
    """Return as much of a text as fits into a width, in Chinese characters.

    A Latin word that would be cut is left out where others stand before it.
    """
    if width_of(text) <= widest:
        return text.strip()
    end = 0
    while width_of(text[: end + 1]) <= widest:
        end += 1
    whole = end
    while whole and text[whole].isascii() and text[whole - 1].isascii() and text[whole] != " ":
        whole -= 1
    return text[: whole or end].strip()


@lru_cache(maxsize=1)
def first_level() -> str:
    """The 3,755 Chinese characters of the first level of GB 2312."""
    codes = ((row, column) for row in range(0xB0, 0xD8) for column in range(0xA1, 0xFF))
    # The last five places of the level are free.
    return "".join(bytes(code).decode("gb2312", "ignore") for code in codes)


def _line_of(random: np.random.Generator, longest: int, clause: Maker) -> str:
    """A piece of running text, which begins and ends anywhere but inside an English word."""
    want = float(np.clip(_MEDIAN * np.exp(random.normal(0, _SPREAD)), _SHORTEST, longest))
    text = clause(random)
    start = int(random.integers(len(text))) if random.random() < 0.6 else 0
    while start and text[start].isascii() and text[start - 1].isascii():
        start -= 1
    text = text[start:]
    while width_of(text) < want + 4:
        text += clause(random)
    return clipped(text, want)


def _noun(random: np.random.Generator) -> str:
    if random.random() < _ODD_WORDS:
        level = first_level()
        return "".join(level[int(n)] for n in random.integers(0, len(level), random.integers(1, 5)))
    return pick(random, _NOUNS)


def _any_characters(random: np.random.Generator) -> str:
    """Some characters of the first level and, at times, a mark."""
    level = first_level()
    text = "".join(level[int(n)] for n in random.integers(0, len(level), random.integers(3, 12)))
    return text + pick(random, ("", "", pick(random, _PAUSES)))


def _chinese_clause(random: np.random.Generator) -> str:
    """A clause with the mark after it."""
    body = pick_maker(_CLAUSES, random)(random)
    if random.random() < 0.1:
        left, right = _pair(random, _PAIRS)
        body = f"{left}{body}{right}"
    return body + pick(random, _ENDS if random.random() < 0.35 else _PAUSES)


def _pair(random: np.random.Generator, pairs: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    return pairs[int(random.integers(len(pairs)))]


def _who_does(random: np.random.Generator) -> str:
    when = pick(random, ("", pick(random, _TIMES)))
    how = pick(random, ("", pick(random, _MANNERS)))
    return f"{when}{pick(random, _PEOPLE)}{how}{pick(random, _VERBS)}{_noun(random)}"


def _thing_does(random: np.random.Generator) -> str:
    quality = pick(random, _QUALITIES)
    return (
        f"{quality}的{_noun(random)}{pick(random, _MANNERS)}{pick(random, _VERBS)}了{_noun(random)}"
    )


def _thing_is(random: np.random.Generator) -> str:
    link, manner = pick(random, ("", pick(random, _LINKS))), pick(random, _MANNERS)
    return f"{link}{_noun(random)}的{_noun(random)}{manner}{pick(random, _QUALITIES)}"


def _moved(random: np.random.Generator) -> str:
    way = pick(random, ("到", "给", "在", "成", "为"))
    return f"{pick(random, _PEOPLE)}把{_noun(random)}{pick(random, _VERBS)}{way}{_noun(random)}"


def _together(random: np.random.Generator) -> str:
    joint = pick(random, ("和", "与", "或", "及", "、"))
    return f"{_noun(random)}{joint}{_noun(random)}{pick(random, _VERBS)}{pick(random, _QUALITIES)}"


def _where(random: np.random.Generator) -> str:
    place = pick(random, ("里", "上", "中", "旁边", "之间", "附近"))
    quality = pick(random, _QUALITIES)
    return f"在{_noun(random)}{place}{pick(random, _VERBS)}着{quality}的{_noun(random)}"


def _how_many(random: np.random.Generator) -> str:
    numerals = "".join(pick(random, _NUMERALS) for _ in range(int(random.integers(1, 4))))
    count = pick(random, (numerals, str(int(10 ** random.uniform(0, 4)))))
    return f"{pick(random, _VERBS)}了{count}{pick(random, _MEASURES)}{_noun(random)}"


def _said(random: np.random.Generator) -> str:
    return f"{person(random)}{pick(random, ('说', '认为', '问道', '写道'))}：“{_thing_is(random)}”"


def _question(random: np.random.Generator) -> str:
    return f"{_who_does(random)}{pick(random, ('吗', '呢', '吧', '啊'))}"


def _valued(random: np.random.Generator) -> str:
    makers: tuple[Maker, ...] = (date, clock, quantity, amount, _share, address, company)
    value = pick_maker(makers, random)(random)
    return f"{_noun(random)}{pick(random, '为是于约')}{value}"


def _official(random: np.random.Generator) -> str:
    return sentence(random).rstrip("。，；")


_CLAUSES: tuple[Maker, ...] = (
    _who_does, _who_does, _thing_does, _thing_does, _thing_is, _moved, _together, _where,
    _how_many, _said, _question, _valued, _official,
)  # fmt: skip


def _mixed_clause(random: np.random.Generator) -> str:
    """A Chinese clause with words, names or numbers of Latin letters in it."""
    word = pick(random, (pick(random, _LATIN), pick(random, _ENGLISH), _identifier(random)))
    before, after = pick(random, _VERBS), _noun(random)
    return f"{before}{word}{after}{pick(random, _PAUSES)}{_chinese_clause(random)}"


def _english_sentence(random: np.random.Generator) -> str:
    """Some words with their marks, as in a sentence, a title or a heading; a blank at the end."""
    count = int(random.integers(3, 11))
    words = [_english_word(random) for _ in range(count)]
    chance = random.random()
    if chance < 0.1:
        return " ".join(words).upper() + " "
    if chance < 0.2:
        return " ".join(word[0].upper() + word[1:] for word in words) + " "
    if random.random() < 0.3:
        words[count // 2] += pick(random, (",", ",", ";", ":", " -"))
    if random.random() < 0.12:
        left, right = _pair(random, (("(", ")"), ('"', '"'), ("'", "'"), ("[", "]")))
        words[-1] = f"{left}{words[-1]}{right}"
    text = " ".join(words)
    return text[0].upper() + text[1:] + pick(random, (".", ".", ".", "?", "!")) + " "


def pick_pair(random: np.random.Generator, pairs: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """One of some pairs of brackets or quotation marks."""
    return pairs[int(random.integers(len(pairs)))]


def _english_word(random: np.random.Generator) -> str:
    chance = random.random()
    if chance < 0.06:
        return pick(random, _NAMES)
    if chance < 0.1:
        return str(int(10 ** random.uniform(0, 4)))
    return pick(random, _ENGLISH)


def _identifier(random: np.random.Generator) -> str:
    first, second = pick(random, _ENGLISH), pick(random, _ENGLISH)
    major, minor, patch = (int(n) for n in random.integers(0, (10, 20, 30)))
    ending = pick(random, ("py", "txt", "com", "jpg", "json"))
    ways = (
        f"{first}_{second}", f"{first}-{second}", f"{first}.{ending}",
        f"v{major}.{minor}.{patch}", f"{first}@{second}.com", f"www.{first}{second}.cn",
        f"--{first}={minor}", f"{first}/{second}/{patch}", f"{first.upper()}{digits(random, 3)}",
        f"{first}()", f"{first}[{major}]", f"${first}", f"#{digits(random, 4)}",
    )  # fmt: skip
    return pick(random, ways)


def _share(random: np.random.Generator) -> str:
    value = random.uniform(0, 100)
    return f"{value:.{int(random.integers(0, 3))}f}%"


def _number(random: np.random.Generator) -> str:
    value = 10 ** random.uniform(0, 7)
    ways = (
        str(int(value)),
        f"{int(value):,}",
        f"{value:.1f}",
        f"{value:.2f}",
        digits(random, int(random.integers(1, 12))),
    )
    return pick(random, ways)


def _word(random: np.random.Generator) -> str:
    return pick(random, (pick(random, _NOUNS), pick(random, _VERBS), _noun(random), _noun(random)))


def _heading(random: np.random.Generator) -> str:
    part = pick(random, ("章", "节", "条", "部分"))
    number = pick(random, _NUMERALS[:10])
    major, minor = (int(n) for n in random.integers(1, (20, 10)))
    verb = pick(random, _VERBS)
    ways = (
        f"第{number}{part} {_noun(random)}",
        f"{number}、{_noun(random)}{verb}",
        f"（{number}）{verb}{_noun(random)}",
        f"{major}.{minor} {_noun(random)}的{_noun(random)}",
        f"{major}. {verb}{_noun(random)}",
        f"关于{_noun(random)}{verb}的通知",
    )
    return pick(random, ways)


def _named(random: np.random.Generator) -> str:
    makers: tuple[Maker, ...] = (_number, _word, date, _share, _identifier, person, phone)
    value = pick_maker(makers, random)(random)
    return f"{_word(random)}{pick(random, ('：', '：', ':', '='))}{value}"


def _marked(random: np.random.Generator) -> str:
    """Words and numbers with a mark of print between them."""
    makers: tuple[Maker, ...] = (_number, _word, _identifier)
    first, second = pick_maker(makers, random)(random), pick_maker(makers, random)(random)
    return f"{first}{pick(random, _MARKS)}{second}"


_SHORT: tuple[Maker, ...] = (
    _word, _word, _number, _number, _heading, _heading, _named, _named, _marked, _identifier,
    _share, date, clock, amount, quantity, phone, address, person, company, account,
    identity_number, reading, notice, office, plate,
)  # fmt: skip
