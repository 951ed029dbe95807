"""A small dirty set: every fault planted at a known place, beside samples without any."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ocr_pipeline.artifacts.dataset import Split
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.preprocess.sources.raw import RawRegion, RawSample

Picture = NDArray[np.uint8]
Points = tuple[tuple[float, float], ...]

CHARSET = Charset([*"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-.:", *"国图产电缆付款é", "Ω", "："])
CLEAN_LINES = 60
CLEAN_PAGES = 12
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


@dataclass
class DirtySet:
    """Labels, their pictures on disk, and what a check must find.

    Attributes:
        samples: in order, of each part.
        planted: (place, fault) of everything that is wrong, and nothing else is.
    """

    folder: Path
    samples: dict[Split, list[RawSample]] = field(default_factory=lambda: {"train": [], "val": []})
    planted: set[tuple[str, str]] = field(default_factory=set)

    def add(self, raw: RawSample, *faults: str, split: Split = "train") -> None:
        self.samples[split].append(raw)
        self.planted |= {(raw.place, fault) for fault in faults}

    def numbered(self, split: Split) -> Iterator[tuple[int, RawSample]]:
        return ((0, raw) for raw in self.samples[split])


class _Maker:
    """Pictures and labels that differ from one another, the same for the same seed."""

    def __init__(self, dirty: DirtySet, seed: int) -> None:
        self.dirty = dirty
        self.random = np.random.default_rng(seed)
        self._count = 0

    def text(self, length: int = 6) -> str:
        self._count += 1
        letters = "".join(self.random.choice(list(_LETTERS), length - 4))
        return f"{letters}{self._count:04d}"

    def line(self, text: str, *, height: int = 40, width: int | None = None) -> Picture:
        """Dark strokes on light paper; no font is needed for what is checked here."""
        width = width or max(40, len(text) * height // 2)
        picture = np.full((height, width, 3), 225, np.uint8)
        step = width / max(1, len(text))
        for number in range(len(text)):
            left = int(number * step + step * 0.15)
            for _ in range(4):
                a = (left + int(self.random.integers(0, max(2, step * 0.7))),)
                b = (left + int(self.random.integers(0, max(2, step * 0.7))),)
                ys = self.random.integers(4, height - 4, 2)
                ink = int(self.random.integers(0, 90))
                start, end = (*a, int(ys[0])), (*b, int(ys[1]))
                cv2.line(picture, start, end, (ink, ink, ink), 2, cv2.LINE_AA)
        return picture

    def page(self, boxes: list[Points], *, height: int = 240, width: int = 320) -> Picture:
        tint = self.random.integers(170, 245, 3).tolist()
        picture = np.full((height, width, 3), tint, np.uint8)
        shade = self.random.integers(-30, 30, (6, 8, 1)).astype(np.float32)
        picture = np.clip(picture + cv2.resize(shade, (width, height))[:, :, None], 0, 255)
        picture = picture.astype(np.uint8)
        for points in boxes:
            (left, top), (right, bottom) = (
                np.min(points, 0).astype(int),
                np.max(points, 0).astype(int),
            )
            part = picture[max(top, 0) : bottom, max(left, 0) : right]
            if part.size:
                line = self.line("X" * 8)
                part[:] = cv2.resize(line, (part.shape[1], part.shape[0]))
        return picture

    def save(self, name: str, picture: Picture) -> str:
        self.write(name, png(picture))
        return name

    def write(self, name: str, content: bytes) -> str:
        path = self.dirty.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return name

    def place(self) -> str:
        return f"labels.txt:{sum(map(len, self.dirty.samples.values())) + 1}"

    def add_line(
        self, text: str, *faults: str, picture: Picture | None = None, split: Split = "train"
    ) -> RawSample:
        """One line with a picture of its own."""
        place = self.place()
        name = self.save(
            f"lines/{place.partition(':')[2]}.png", self.line(text) if picture is None else picture
        )
        raw = RawSample(place, name, text=text)
        self.dirty.add(raw, *faults, split=split)
        return raw

    def add_page(
        self,
        regions: list[RawRegion],
        *faults: str,
        picture: Picture | None = None,
        split: Split = "train",
        size: tuple[int, int] | None = None,
    ) -> RawSample:
        place = self.place()
        if picture is None:
            picture = self.page([r.points for r in regions if _drawable(r.points)])
        name = self.save(f"pages/{place.partition(':')[2]}.png", picture)
        raw = RawSample(place, name, regions=tuple(regions), size=size)
        self.dirty.add(raw, *faults, split=split)
        return raw


def png(picture: Picture) -> bytes:
    done, content = cv2.imencode(".png", picture)
    assert done
    return content.tobytes()


def jpeg(picture: Picture, quality: int = 80, orientation: int | None = None) -> bytes:
    stream = io.BytesIO()
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(picture[:, :, ::-1]).save(stream, "JPEG", quality=quality, exif=exif)
    return stream.getvalue()


def box(left: float, top: float, width: float = 120, height: float = 30) -> Points:
    right, bottom = left + width, top + height
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def region(points: Points, text: str = "ABC", ignore: bool = False) -> RawRegion:
    return RawRegion(points, text, ignore)


def _drawable(points: Points) -> bool:
    return len(points) > 2 and bool(np.isfinite(np.array(points)).all())


def _bomb(width: int, height: int) -> bytes:
    """The header of a PNG that claims to be huge."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = struct.pack(">I", len(head) - 4) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + body + b"\x00\x00\x00\x04IDAT" + b"\x00" * 40


def make_dirty_lines(folder: Path, seed: int = 0) -> DirtySet:
    """A recognition set; all faults of single samples and of pairs."""
    dirty = DirtySet(folder)
    maker = _Maker(dirty, seed)
    for _ in range(CLEAN_LINES):
        maker.add_line(maker.text())
    _plant_list_faults(maker)
    _plant_text_faults(maker)
    _plant_picture_faults(maker)
    _plant_crop_faults(maker)
    _plant_pairs(maker)
    return dirty


def _plant_list_faults(maker: _Maker) -> None:
    dirty = maker.dirty
    for fault in ("format", "not_utf8", "unconfirmed", "label_disagreement"):
        dirty.add(RawSample(maker.place(), "", fault=(fault, f"planted here: {fault}")), fault)
    dirty.add(RawSample(maker.place(), "", text="A"), "format")
    dirty.add(RawSample(maker.place(), "a\0b.png", text="A"), "format")
    dirty.add(RawSample(maker.place(), "../up.png", text="A"), "outside_root")
    dirty.add(RawSample(maker.place(), "/etc/up.png", text="A"), "outside_root")
    first = dirty.samples["train"][0]
    dirty.add(RawSample(maker.place(), first.image, text=f" {first.text} "), "duplicate")
    dirty.add(RawSample(maker.place(), first.image, text="Q9"), "conflict")


def _plant_text_faults(maker: _Maker) -> None:
    maker.add_line("", "empty_label", picture=maker.line("A"))
    maker.add_line(" \u200b", "empty_label", picture=maker.line("A"))
    maker.add_line("國圖0001", "unknown_character")
    maker.add_line("ＡＢ01", "unknown_character")
    maker.add_line("龘0002", "unknown_character")
    maker.add_line(" A0003", "outer_space")
    maker.add_line("A0004\u3000", "outer_space")
    maker.add_line("A\tB0005", "odd_space")
    maker.add_line("A\u00a0B0006", "odd_space")
    maker.add_line("A\u3000B0007", "odd_space")
    maker.add_line("A  B0008", "double_space")
    maker.add_line("A\u200bB0009", "invisible_character")
    maker.add_line("\ufeffAB0010", "invisible_character")
    maker.add_line("A\u202eB0011", "invisible_character")
    maker.add_line("A\x07B0012", "invisible_character")
    maker.add_line("A\ufffdB0013", "replacement_character")
    maker.add_line("国图0014".encode().decode("cp1252"), "mojibake")
    maker.add_line("é0015".encode().decode("latin-1"), "mojibake")
    maker.add_line("付款".encode("gbk").decode("latin-1"), "mojibake")
    maker.add_line("电缆".encode().decode("gbk"), "mojibake")
    maker.add_line("e\u0301A0016", "not_nfc")
    maker.add_line("A0017\nB", "multi_line")
    maker.add_line("A0018\u2028B", "multi_line")
    maker.add_line("###", "ignore_mark", picture=maker.line("ABCD"))
    maker.add_line("*", "ignore_mark", picture=maker.line("ABCD"))
    maker.add_line(
        "".join("ABCDEFGHIJ"[n % 10] for n in range(50)),
        "label_too_long",
        picture=maker.line("A" * 20, width=240),
    )
    maker.add_line(
        "ABCDEFGHIJKLMNOPQRSTUVWX", "too_long_for_guide", picture=maker.line("A" * 24, width=480)
    )
    maker.add_line("ABCDEFG0019", "implausible_length", picture=maker.line("AB", width=42))
    maker.add_line("7", "implausible_length", picture=maker.line("A" * 10, width=400))


def _plant_picture_faults(maker: _Maker) -> None:
    dirty = maker.dirty

    def add(content: bytes | None, *faults: str, size: tuple[int, int] | None = None) -> None:
        place = maker.place()
        name = f"files/{place.partition(':')[2]}.jpg"
        if content is not None:
            maker.write(name, content)
        dirty.add(RawSample(place, name, text=maker.text(), size=size), *faults)

    good = jpeg(maker.line("ABCDEF"))
    add(None, "missing_picture")
    add(b"", "unreadable_picture")
    add(good[: len(good) // 2], "unreadable_picture")
    add(b"<html>404</html>", "unreadable_picture")
    add(_bomb(60_000, 60_000), "too_large_picture")
    add(jpeg(np.full((40, 120, 3), 210, np.uint8)), "blank_picture")
    add(png(maker.line("ABCDEF", height=40)[16:22]), "tiny_picture")
    add(png(maker.line("ABCDEF", height=60, width=30)), "vertical_line")
    add(jpeg(maker.line("ABCDEF"), orientation=3), "exif_turned")
    add(jpeg(maker.line("ABCDEF", height=120, width=40), orientation=6), "exif_turned")
    add(
        jpeg(maker.line("ABCDEF", height=120, width=40), orientation=8),
        "exif_disagreement",
        size=(120, 40),
    )
    add(png(maker.line("ABCDEF")), size=(40, 120))


def _plant_crop_faults(maker: _Maker) -> None:
    dirty = maker.dirty
    boxes = [box(20 + 150 * (n % 2), 10 + 45 * (n // 2)) for n in range(8)]
    page = maker.page(boxes)
    name = maker.save("pages/crops.png", page)

    def add(points: Points, *faults: str, size: tuple[int, int] | None = None) -> None:
        raw = RawSample(maker.place(), name, text=maker.text(), crop=points, size=size)
        dirty.add(raw, *faults)

    add(boxes[0])
    a, b, c, d = boxes[1]
    add((a, d, c, b), "wrong_order")
    a, b, c, d = boxes[2]
    add((b, c, d, a), "wrong_start")
    a, b, c, d = boxes[3]
    add((a, b, d, c), "self_crossing")
    add(((3, 3), (3, 3), (4, 3), (4, 3)), "degenerate_region")
    add(((3, 3), (9, 3)), "too_few_points")
    add(((3, 3), (9, 3), (9, float("nan")), (3, 9)), "not_finite")
    add(box(900, 900), "wholly_outside")
    add(box(-15, 196), "partly_outside")
    add(boxes[5], "wrong_size", size=(480, 640))
    add(tuple(boxes[6][n] for n in (2, 3, 0, 1)))  # upside down: meant


def _plant_pairs(maker: _Maker) -> None:
    random = maker.random

    def again(picture: Picture) -> Picture:
        """Another encoding of the same picture, a little brighter."""
        bright = np.clip(picture.astype(np.float32) * 0.95 + 10, 0, 255).astype(np.uint8)
        return cv2.imdecode(np.frombuffer(jpeg(bright, 92), np.uint8), cv2.IMREAD_COLOR)

    smooth = cv2.GaussianBlur(maker.line("ABCDEF"), (5, 5), 0)
    text = maker.text()
    maker.add_line(text, picture=smooth)
    maker.add_line(text, "duplicate_picture", picture=smooth)
    other = cv2.GaussianBlur(maker.line("ABCDEF"), (5, 5), 0)
    maker.add_line(maker.text(), "picture_conflict", picture=other)
    maker.add_line(maker.text(), "picture_conflict", picture=other)
    third = cv2.GaussianBlur(maker.line("ABCDEF"), (5, 5), 0)
    maker.add_line(maker.text(), picture=third)
    maker.add_line(maker.text(), "near_conflict", picture=again(third))
    shared, seen = maker.text(), cv2.GaussianBlur(maker.line("ABCDEF"), (5, 5), 0)
    nearly = cv2.GaussianBlur(maker.line("ABCDEF"), (5, 5), 0)
    maker.add_line(shared, "leak")
    maker.add_line(maker.text(), "leak_picture", picture=seen)
    maker.add_line(maker.text(), "leak_near_picture", picture=again(nearly))
    maker.add_line(shared, split="val")
    maker.add_line(maker.text(), picture=seen, split="val")
    maker.add_line(maker.text(), picture=nearly, split="val")
    for _ in range(int(random.integers(5, 8))):
        maker.add_line(maker.text(), split="val")


def make_dirty_pages(folder: Path, seed: int = 0) -> DirtySet:
    """A detection set; all faults of regions and of pictures."""
    dirty = DirtySet(folder)
    maker = _Maker(dirty, seed)
    for _ in range(CLEAN_PAGES):
        maker.add_page(_good_regions(maker))
    _plant_region_faults(maker)
    _plant_page_faults(maker)
    _plant_page_pairs(maker)
    return dirty


def _good_regions(maker: _Maker, count: int = 3) -> list[RawRegion]:
    shift = maker.random.integers(0, 20, (count, 2)).tolist()
    return [
        region(box(20 + dx, 20 + 60 * n + dy), maker.text()) for n, (dx, dy) in enumerate(shift)
    ]


def _plant_region_faults(maker: _Maker) -> None:
    good = box(150, 200, 140, 30)
    a, b, c, d = good
    bad: list[tuple[str, RawRegion]] = [
        ("too_few_points", region((a, b))),
        ("too_many_points", region((a,) * 2001)),
        ("not_finite", region((a, b, c, (float("inf"), 3.0)))),
        ("degenerate_region", region((a, a, b, b))),
        ("degenerate_region", region(((150, 200), (200, 200), (250, 200), (280, 200)))),
        ("self_crossing", region((a, b, d, c))),
        (
            "self_crossing",
            region(((150, 200), (290, 230), (290, 200), (150, 230), (140, 215))),
        ),
        ("wrong_order", region((a, d, c, b))),
        ("wrong_start", region((b, c, d, a))),
        ("wrong_start", region((c, d, a, b))),
        ("partly_outside", region(box(250, 205, 120, 30))),
        ("wholly_outside", region(box(400, 205, 120, 30))),
        ("shrinks_away", region(box(150, 205, 60, 4))),
        ("unmarked_ignore", region(good, "###")),
        ("empty_transcription", region(good, " ")),
        ("invisible_character", region(good, "A\ud800B")),
    ]
    for fault, wrong in bad:
        maker.add_page([*_good_regions(maker), wrong], fault)
    twice = _good_regions(maker)
    moved = tuple((x + 1, y) for x, y in twice[0].points)
    maker.add_page([*twice, region(moved)], "duplicate_region")


def _plant_page_faults(maker: _Maker) -> None:
    dirty = maker.dirty
    maker.add_page([], "no_region", picture=maker.page([box(20, 20)]))
    maker.add_page(
        [region((box(20, 20))[:2])],
        "too_few_points",
        "no_region",
        picture=maker.page([box(20, 20)]),
    )
    maker.add_page([region(box(20, 20), "###", ignore=True)], "all_ignored")
    regions = _good_regions(maker)
    maker.add_page(regions, "wrong_size", size=(480, 640))
    for claimed in ((320, 240), None):
        turned = _good_regions(maker)
        stored = cv2.rotate(maker.page([r.points for r in turned]), cv2.ROTATE_90_COUNTERCLOCKWISE)
        place = maker.place()
        name = f"pages/{place.partition(':')[2]}.jpg"
        maker.write(name, jpeg(stored, 90, orientation=6))  # which turns it back
        as_stored = tuple(region(tuple((y, 320 - x) for x, y in r.points), r.text) for r in turned)
        raw = RawSample(place, name, regions=as_stored, size=claimed)
        dirty.add(raw, "exif_disagreement")
    dirty.add(RawSample(maker.place(), "pages/none.png", regions=tuple(regions)), "missing_picture")
    maker.add_page(regions, "blank_picture", picture=np.full((240, 320, 3), 90, np.uint8))
    first = dirty.samples["train"][0]
    dirty.add(RawSample(maker.place(), first.image, regions=first.regions), "duplicate")
    dirty.add(RawSample(maker.place(), first.image, regions=tuple(regions)), "conflict")
    dirty.add(RawSample(maker.place(), "", fault=("format", "not a list of regions")), "format")


def _plant_page_pairs(maker: _Maker) -> None:
    regions = _good_regions(maker)
    page = cv2.GaussianBlur(maker.page([r.points for r in regions]), (5, 5), 0)
    maker.add_page(regions, picture=page)
    maker.add_page(regions, "duplicate_picture", picture=page)
    regions = _good_regions(maker)
    page = maker.page([r.points for r in regions])
    maker.add_page(regions, "picture_conflict", picture=page)
    maker.add_page(regions[:2], "picture_conflict", picture=page)
    regions = _good_regions(maker)
    page = cv2.GaussianBlur(maker.page([r.points for r in regions]), (5, 5), 0)
    again = cv2.imdecode(np.frombuffer(jpeg(page, 95), np.uint8), cv2.IMREAD_COLOR)
    maker.add_page(regions, picture=page)
    maker.add_page(regions[:1], "near_conflict", picture=again)
    regions = _good_regions(maker)
    page = cv2.GaussianBlur(maker.page([r.points for r in regions]), (5, 5), 0)
    maker.add_page(regions, "leak_picture", picture=page)
    maker.add_page(regions, picture=page, split="val")
    regions = _good_regions(maker)
    page = cv2.GaussianBlur(maker.page([r.points for r in regions]), (5, 5), 0)
    again = cv2.imdecode(np.frombuffer(jpeg(page, 95), np.uint8), cv2.IMREAD_COLOR)
    maker.add_page(regions, "leak_near_picture", picture=again)
    maker.add_page(regions, picture=page, split="val")
