"""Bodies that mean harm, made from a seed: pictures, PDF, JSON and forms.

``python -m tests.serving.fuzzing --bodies 10000 --seed 0`` sends them to a service of its own and
prints what became of them; see docs/reliability.md.
"""

import argparse
import base64
import gzip
import io
import json
import struct
import tempfile
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

import httpx
import numpy as np
from PIL import Image

from ocr_pipeline.inference import OcrReader
from ocr_pipeline.ops.golden import golden_pages
from ocr_pipeline.stock import exported_folder
from tests.made_pdfs import blank_picture, grey_pages, one_page, pdf, stream, with_picture
from tests.processes import children
from tests.serving.servers import START_S, Server, started

Random = np.random.Generator
ChoiceT = TypeVar("ChoiceT")
_ODD = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_QUERIES = (
    "",
    "?words=true",
    "?picture=true",
    "?output=pdf",
    "?output=alto&words=true",
    "?output=hocr",
    "?output=text",
    "?output=docx",
    "?pages=1",
    "?pages=2-1",
    "?pages=" + "9" * 400,
    "?pages=%00%F0%9F%98%80",
    "?words=perhaps&words=true&unknown=1",
)
_RESTARTS = "ocr_worker_restarts_total"
_BOUNDARY = "3f0c5d1e9a7b48d2"
_CHARSETS = ("utf-8", "utf-7", "undefined", "idna", "punycode", "rot13", "raw-unicode-escape", "x")


@dataclass(frozen=True)
class Body:
    """One request.

    Attributes:
        kind: what was done to it.
        route: path and query.
        content_type: as it is sent.
        content: bytes.
        text: what the answer must say; None: anything but a fault of the service.
    """

    kind: str
    route: str
    content_type: str
    content: bytes
    text: str | None = None


# --- files ------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def png_of(width: int, height: int, data: bytes, *before: bytes, bits: int = 8) -> bytes:
    """A grey PNG with any header and any data."""
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), *before, chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


@cache
def sources() -> Sequence[bytes]:
    """Whole small pictures of every format and several of its forms."""
    page = Image.fromarray(golden_pages()[1][:64, :160, ::-1])
    grey, seen_through = page.convert("L"), page.convert("RGBA")
    turned = Image.Exif()
    turned[0x0112] = 6
    return [
        saved(page, "JPEG"),
        saved(page, "JPEG", progressive=True, exif=turned),
        saved(page.convert("CMYK"), "JPEG"),
        saved(page, "PNG", pnginfo=None),
        saved(page.quantize(16), "PNG", transparency=0),
        saved(seen_through, "PNG"),
        saved(grey.convert("I;16"), "PNG"),
        saved(page, "WEBP", exif=turned),
        saved(seen_through, "WEBP", lossless=True),
        saved(page, "BMP"),
        saved(page.quantize(16), "BMP"),
        saved(page, "TIFF"),
        saved(page, "TIFF", compression="tiff_lzw"),
        saved(page, "TIFF", compression="tiff_adobe_deflate"),
        saved(page, "TIFF", compression="jpeg"),
        saved(grey.convert("1"), "TIFF", compression="group4"),
        saved(page, "TIFF", big_tiff=True),
        saved(page, "TIFF", save_all=True, append_images=[grey, page.quantize(8)]),
    ]


@cache
def pdf_sources() -> Sequence[bytes]:
    """Whole small PDF files."""
    return [
        grey_pages(0.2, 0.4),
        one_page(b"q 0.5 g 10 10 90 90 re f Q"),
        with_picture(blank_picture(64, 32)),
    ]


def _flip(content: bytearray, random: Random) -> bytearray:
    for _ in range(int(random.integers(1, 12))):
        content[_place(content, random)] ^= 1 << int(random.integers(8))
    return content


def _overwrite(content: bytearray, random: Random) -> bytearray:
    """Numbers that lie, of each width and byte order."""
    for _ in range(int(random.integers(1, 5))):
        width = int(random.choice((1, 2, 4)))
        value = int(random.choice(_ODD)) & (256**width - 1)
        place = _place(content, random)
        order = "little" if random.integers(2) else "big"
        content[place : place + width] = value.to_bytes(width, order)
    return content


def _cut(content: bytearray, random: Random) -> bytearray:
    return content[: _place(content, random)]


def _swap(content: bytearray, random: Random) -> bytearray:
    """Two blocks in each other's place."""
    one, two, three = sorted(int(place) for place in random.integers(len(content), size=3))
    return content[:one] + content[two:three] + content[one:two] + content[three:]


def _repeat(content: bytearray, random: Random) -> bytearray:
    start = _place(content, random)
    block = content[start : start + int(random.integers(1, 200))]
    return content[:start] + block * int(random.integers(2, 40)) + content[start:]


def _remove(content: bytearray, random: Random) -> bytearray:
    start = _place(content, random)
    del content[start : start + int(random.integers(1, 100))]
    return content


def _insert(content: bytearray, random: Random) -> bytearray:
    start = _place(content, random)
    return content[:start] + random.bytes(int(random.integers(1, 300))) + content[start:]


_MUTATIONS = (_flip, _overwrite, _cut, _swap, _repeat, _remove, _insert)


def _place(content: bytearray, random: Random) -> int:
    """Half of them within the headers."""
    most = min(len(content), 200) if random.integers(2) else len(content)
    return int(random.integers(max(1, most)))


def mutated(content: bytes, random: Random) -> bytes:
    """A file with a few faults."""
    damaged = bytearray(content)
    for _ in range(int(random.integers(1, 4))):
        damaged = pick(random, _MUTATIONS)(damaged or bytearray(b"\0"), random)
    return bytes(damaged)


def tiff(*directories: Sequence[tuple[int, int, int, int]], following: int = 0) -> bytes:
    """A little-endian TIFF of directories of (tag, type, count, value); the last one's follower."""
    content, places = b"II*\0" + struct.pack("<I", 8), []
    for number, entries in enumerate(directories):
        places.append(len(content))
        body = struct.pack("<H", len(entries)) + b"".join(
            struct.pack("<HHII", *entry) for entry in entries
        )
        last = number == len(directories) - 1
        after = following if last else len(content) + len(body) + 4
        content += body + struct.pack("<I", after)
    return content


def _tiff_of(width: int, height: int, *, strip: tuple[int, int], packing: int = 1) -> bytes:
    at, size = strip
    tags = ((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, packing))
    more = ((262, 3, 1, 1), (273, 4, 1, at), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, size))
    return tiff([*tags, *more])


def tiff_bomb(side: int = 3000) -> bytes:
    """A deflated strip of zeros: more of them than the picture has pixels."""
    head = len(_tiff_of(side, side, strip=(0, 0), packing=8))
    zeros = zeros_of(50_000_000)
    return _tiff_of(side, side, strip=(head, len(zeros)), packing=8) + zeros


def odd_tiff(random: Random) -> bytes:
    """Directories that come back, lie about sizes, or point out of the file."""
    small = [(256, 4, 1, 9), (257, 4, 1, 9)]
    choices: list[Callable[[], bytes]] = [
        lambda: tiff(small, following=8),
        lambda: tiff(small, small, small, following=8 + 30),
        lambda: tiff(small, following=0xFFFFFFF0),
        lambda: tiff(*[small] * 3000),
        lambda: tiff([(tag, 2, 0xFFFFFFFF, 8) for tag in range(256, 300)]),
        lambda: tiff([(256, 13, 1, 8), (330, 13, 1, 8), (34665, 4, 1, 8), (34853, 4, 1, 8)]),
        lambda: _tiff_of(60_000, 60_000, strip=(8, 100)),
        lambda: _tiff_of(5000, 5000, strip=(8, 0xFFFFFFFF)),
        tiff_bomb,
        lambda: _tiff_of(16, 16, strip=(0x7FFFFFFF, 256), packing=5),
        lambda: tiff(*[[(int(random.integers(2**16)), 4, 1, 8)] * 40] * 20),
    ]
    return pick(random, choices)()


@cache
def zeros_of(count: int) -> bytes:
    return zlib.compress(bytes(count), 9)


def zipped(content: bytes) -> bytes:
    """An archive of one file, the same whenever it is made."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(zipfile.ZipInfo("page.png"), content, zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def bomb(random: Random) -> bytes:
    """Small files that say, or hold, that they are huge."""
    zeros = zeros_of(30_000_000)
    side = int(random.choice((1000, 2500, 6000, 20_000, 2**31 - 1)))
    wide = struct.pack("<I", side)
    page = sources()
    webp = b"VP8X\n\0\0\0\x10\0\0\0" + b"\xff\xff\xff" * 2
    choices: list[Callable[[], bytes]] = [
        lambda: png_of(side, side, zlib.compress(bytes(side // 8 + 1)), bits=1),
        lambda: png_of(30_000_000, 1, zeros),
        lambda: png_of(16, 16, zeros),
        lambda: png_of(16, 16, b"", chunk(b"iCCP", b"a\0\0" + zeros)),
        lambda: png_of(16, 16, b"", chunk(b"zTXt", b"a\0\0" + zeros)),
        lambda: png_of(16, 16, b"", chunk(b"iTXt", b"a\0\1\0\0\0" + zeros)),
        lambda: png_of(16, 16, zlib.compress(bytes(272)), *[chunk(b"tEXt", b"a\0b")] * 5000),
        lambda: (
            b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + wide + wide + b"\1\0\x18\0" + bytes(24)
        ),
        lambda: page[0].replace(page[0][163:167], b"\xff\xff\xff\xff", 1),
        lambda: b"RIFF" + struct.pack("<I", len(webp) + 4) + b"WEBP" + webp,
        lambda: gzip.compress(bytes(20_000_000), mtime=0),
        lambda: zipped(bytes(10_000_000)),
        lambda: b"\xff\xd8" + b"\xff\xfe\xff\xff" * 30_000 + b"\xff\xd9",
    ]
    return pick(random, choices)()


def polyglot(random: Random) -> bytes:
    """Two kinds of file in one."""
    picture, document = pick(random, sources()), pick(random, pdf_sources())
    archive = zipped(b"b")
    comment = b"\xff\xfe" + struct.pack(">H", len(document[:60_000]) + 2) + document[:60_000]
    choices: list[Callable[[], bytes]] = [
        lambda: picture + document,
        lambda: document + picture,
        lambda: picture + archive,
        lambda: b"\xff\xd8" + comment + sources()[0][2:],
        lambda: b"GIF89a" + picture,
        lambda: b"<html><script>" + document,
        lambda: b"BM%PDF-1.7" + document,
        lambda: b"%PDF-" + picture,
        lambda: picture[:40] + document[5:] + b"%PDF-%%EOF",
        lambda: archive + document,
    ]
    return pick(random, choices)()


def odd_pdf(random: Random) -> bytes:
    """PDF files whose structure is a trap."""
    zeros = zeros_of(20_000_000)
    twice = stream(zlib.compress(zeros, 9), b"/Filter[/FlateDecode/FlateDecode]")
    whole = grey_pages(0.3)
    box = str(random.choice(("1e38", "-5", "99999999999999999999", "0", "14400", "nan"))).encode()
    pages = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %s %s]/Contents 4 0 R>>"
    catalogue = b"<</Type/Catalog/Pages 2 0 R>>"
    form = stream(b"/F Do /F Do", b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources 6 0 R")
    image = b"/Type/XObject/Subtype/Image/Width 90000/Height 90000/BitsPerComponent 8"
    choices: list[Callable[[], bytes]] = [
        lambda: whole.replace(b"startxref\n", b"startxref\n9999999"),
        lambda: whole.replace(b"0000000000 65535 f", b"9999999999 00000 n"),
        lambda: whole.replace(b"/Root 1 0 R", b"/Root 9 0 R/Prev 0"),
        lambda: whole.replace(b"xref\n0", b"xref\n4294967295"),
        lambda: pdf(catalogue, pages, page % (box, box), stream(b"0 0 9 9 re f")),
        lambda: pdf(catalogue, b"<</Type/Pages/Kids[2 0 R]/Count 1>>"),
        lambda: pdf(catalogue, b"<</Type/Pages/Kids[3 0 R]/Count 2147483647>>", page % (box, box)),
        lambda: pdf(catalogue, b"[" * 20_000 + b"]" * 20_000),
        lambda: pdf(catalogue, b"<</A" * 20_000 + b">>" * 20_000),
        lambda: one_page(b"/F Do", (72, 72), b"/XObject<</F 5 0 R>>", form, b"<</F 5 0 R>>"),
        lambda: pdf(catalogue, pages, page % (b"72", b"72"), twice),
        lambda: with_picture(stream(b"\0" * 99, image + b"/Filter/JPXDecode")),
        lambda: with_picture(stream(b"\0" * 99, image + b"/Filter/JBIG2Decode")),
        lambda: with_picture(stream(zeros, image + b"/ColorSpace/DeviceRGB/Filter/FlateDecode")),
        lambda: one_page(b"q " * 50_000),
        lambda: one_page(b"(" * 50_000 + b"BT /F 1e9 Tf (a) Tj ET"),
        lambda: grey_pages(*[0.5] * 150),
        lambda: b"%PDF-1.7\n%%EOF",
        lambda: b"\n" * 1020 + whole,
    ]
    return pick(random, choices)()


# --- bodies -----------------------------------------------------------------------------------


def pick(random: Random, choices: Sequence[ChoiceT]) -> ChoiceT:
    return choices[int(random.integers(len(choices)))]


def form(*contents: bytes, name: str = "file") -> tuple[str, bytes]:
    """Content type and bytes of a form of files."""
    kind = f"multipart/form-data; boundary={_BOUNDARY}"
    files = [(name, ("页.png", content)) for content in contents]
    request = httpx.Request("POST", "http://a", files=files, headers={"Content-Type": kind})
    return kind, request.read()


def upload(kind: str, content: bytes, random: Random) -> Body:
    """A file, by one of the routes and in one of the ways that take it."""
    way = int(random.integers(11))
    if way == 0:
        return Body(kind, "/v1/ocr/batch?picture=true", *form(content, content[:50], name="files"))
    if way == 1:
        return Body(kind, "/v1/recognize", *form(content, sources()[3], name="files"))
    route = "/v1/ocr" + (pick(random, _QUERIES) if way < 7 else "")
    if way == 2:
        packed = json.dumps({"file": base64.b64encode(content).decode()}).encode()
        return Body(kind, route, "application/json", packed)
    if way == 10:
        packed = json.dumps({"file": base64.b64encode(content).decode()}).encode()
        return Body(kind, "/ocr", "application/json", packed)
    return Body(kind, route, *form(content))


def odd_json(random: Random) -> Body:
    """JSON that is deep, of other types, or no JSON."""
    picture = base64.b64encode(sources()[0])
    deep = int(random.choice((100, 10_000, 300_000)))
    choices = (
        b"[" * deep,
        b'{"file":' * deep + b"1" + b"}" * deep,
        b'{"file":' + pick(random, (b"null", b"1", b"true", b"[]", b"{}", b"1e999", b"NaN")) + b"}",
        b'{"file":' + b"9" * 6000 + b"}",
        b'{"file":"' + picture + b'","file":"' + picture[:-3] + b'"}',
        b'{"file":"' + picture[: int(random.integers(len(picture)))] + b'"}',
        b'{"file":"' + picture.replace(b"/", b"_").replace(b"+", b"-") + b'"}',
        b'{"url":"http://127.0.0.1:1/a"}',
        b'{"file":"http://[::1"}',
        b'{"file":"\\ud800\\udfff\\ud800"}',
        b'{"\\ud800":"a"}',
        b'{"file":"data:image/png;base64,' + picture + b'"}',
        b'{"file":"' + b"\\u0041" * 20_000 + b'"}',
        b'\xef\xbb\xbf{"file":"' + picture + b'"}',
        '{"file":"a"}'.encode("utf-16"),
        b'{"file":"\xff\xfe"}',
        b'{"file":"' + picture + b'"} trailing',
        b"\0" * 1000,
        b"",
        mutated(b'{"file":"' + picture + b'"}', random),
    )
    kind = pick(
        random, ("application/json", "Application/JSON; charset=utf-16", "application/json")
    )
    route = pick(random, ("/v1/ocr", "/v1/ocr", "/v1/ocr/batch", "/v1/recognize", "/ocr"))
    return Body("json", route, kind, pick(random, choices))


def _part(disposition: bytes, content: bytes, boundary: bytes, *headers: bytes) -> bytes:
    lines = (b"--" + boundary, b"Content-Disposition: " + disposition, *headers, b"", content)
    return b"\r\n".join(lines) + b"\r\n"


def odd_form(random: Random) -> Body:
    """Forms with odd boundaries, charsets, names, and too much of everything."""
    content, mark = (
        pick(random, sources()),
        pick(random, (b"x", b"-" * 70, b"a" * 5000, b"'();,/?")),
    )
    route = pick(random, ("/v1/ocr", "/v1/ocr/batch", "/v1/recognize"))
    name = b"file" if route == "/v1/ocr" else b"files"
    end = b"--" + mark + b"--\r\n"
    odd_name = pick(
        random, (b"\\ud800", b"+2AA-", b"\xff\xfe", b"..\\..\\etc", b"a" * 9000, b'\\"', b"\x01")
    )
    plain = b'form-data; name="%s"; filename="a"' % name
    named = b'form-data; name="%s"; filename="%s"' % (name, odd_name)
    starred = b"form-data; name=%s; filename*=utf-16''%%ff%%d8" % name
    choices = (
        _part(plain, content, mark),
        _part(named, content, mark) + end,
        _part(starred, content, mark) + end,
        _part(b'form-data; name="%s"' % name, content, mark) + end,
        _part(b'form-data; filename="a"', content, mark) + end,
        _part(b"", content, mark) + end,
        _part(plain, content, mark, *[b"X-%d: y" % n for n in range(3000)]) + end,
        _part(plain, content, mark, b"X: " + b"y" * 200_000) + end,
        _part(plain, content, mark, b"Content-Transfer-Encoding: base64") + end,
        _part(plain, content, mark).replace(b"\r\n", b"\n") + end,
        _part(plain, b"", mark) * 3000 + end,
        _part(b'form-data; name="a"', b"b", mark) * 3000 + end,
        _part(b'form-data; name="%s"' % (b"n" * 9000), bytes(1_200_000), mark) + end,
        _part(plain, _part(plain, content, mark) + end, mark) + end,
        end,
        b"",
        b"--" + mark,
        mutated(_part(named, content, mark) + end, random),
    )
    charset = pick(random, _CHARSETS)
    said = pick(
        random,
        (
            f"multipart/form-data; boundary={mark.decode()}",
            f'multipart/form-data; charset={charset}; boundary="{mark.decode()}"',
            f'multipart/form-data; charset={charset}; boundary="{mark.decode()}"',
            "multipart/form-data",
            "multipart/form-data; boundary=",
            f'multipart/form-data; boundary="{mark.decode()}',
            f"multipart/mixed; boundary={mark.decode()}",
            "multipart/form-data; boundary*=utf-8''%ff",
        ),
    )
    return Body("form", route, said, pick(random, choices))


def bodies(count: int, seed: int, texts: Sequence[str]) -> Iterator[Body]:
    """So many, the same for the same seed; one in 20 is whole and must be read as ``texts`` say."""
    pages = [saved(Image.fromarray(page[:, :, ::-1]), "PNG") for page in golden_pages()]
    small, documents = sources(), pdf_sources()
    for number in range(count):
        random = np.random.default_rng((seed, number))
        chance = int(random.integers(100))
        if number % 20 == 0:
            place = number // 20 % len(pages)
            yield Body("whole", "/v1/ocr", *form(pages[place]), texts[place])
        elif chance < 56:
            yield upload("picture", mutated(pick(random, small), random), random)
        elif chance < 68:
            yield odd_json(random)
        elif chance < 84:
            yield odd_form(random)
        elif chance < 87:
            yield upload("bomb", bomb(random), random)
        elif chance < 90:
            yield upload("tiff", odd_tiff(random), random)
        elif chance < 93:
            yield upload("polyglot", polyglot(random), random)
        elif chance < 97:
            yield upload("pdf", mutated(pick(random, documents), random), random)
        else:
            yield upload("odd pdf", odd_pdf(random), random)


# --- sending ----------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What became of many bodies.

    Attributes:
        statuses: number of answers, by kind of body and status.
        faults: what may not be, with the number of the body.
        memory_mb: resident, by sample: the service, its reading process, and all with children.
    """

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    memory_mb: list[tuple[float, float, float]] = field(default_factory=list)


def fault_of(body: Body, answer: httpx.Response) -> str:
    """What is wrong with an answer; empty: nothing."""
    kind = answer.headers.get("content-type", "")
    if answer.status_code >= 500:
        return f"{answer.status_code}: {answer.text[:300]}"
    problem = "application/json" if body.route == "/ocr" else "application/problem+json"
    if answer.status_code >= 400 and kind not in (problem, "application/problem+json"):
        return f"{answer.status_code} as {kind}"
    if body.text is not None:
        told = answer.json().get("text")
        return "" if told == body.text else f"{told!r} and not {body.text!r}"
    if "ndjson" in kind:
        answers = [json.loads(line) for line in answer.content.splitlines()]
        return _fault_within(answers)
    if kind == "application/json" and body.route == "/v1/recognize":
        return _fault_within(answer.json()["lines"])
    return ""


def _fault_within(answers: Sequence[dict[str, object]]) -> str:
    """A batch is 200 whatever became of its files."""
    errors = [answer["error"] for answer in answers if "error" in answer]
    bad = [e for e in errors if not isinstance(e, dict) or e["status"] >= 500]
    return f"within a batch: {bad[0]}" if bad else ""


def attack(server: Server, sent: Iterator[Body], *, clients: int = 6) -> Outcome:
    """Send bodies from several clients and look at each answer and, meanwhile, at memory."""
    outcome, lock, over = Outcome(), threading.Lock(), threading.Event()
    numbered = enumerate(sent)
    with httpx.Client(base_url=server.client.base_url, timeout=120) as client:

        def send_on() -> None:
            while True:
                with lock:
                    number, body = next(numbered, (0, None))
                if body is None:
                    return
                try:
                    headers = {"Content-Type": body.content_type.encode("latin-1")}
                    answer = client.post(body.route, content=body.content, headers=headers)
                    status, fault = answer.status_code, fault_of(body, answer)
                except httpx.HTTPError as error:
                    status, fault = 0, repr(error)
                with lock:
                    outcome.statuses[body.kind, status] += 1
                    if fault:
                        outcome.faults.append(f"body {number} ({body.kind}, {body.route}): {fault}")

        watching = threading.Thread(target=_watch, args=(server, outcome, over))
        watching.start()
        try:
            with ThreadPoolExecutor(clients) as pool:
                for job in [pool.submit(send_on) for _ in range(clients)]:
                    job.result()
        finally:
            over.set()
            watching.join()
    return outcome


def _watch(server: Server, outcome: Outcome, over: threading.Event) -> None:
    while not over.wait(0.25):
        pid = server.process.pid
        below = children(pid)
        rest = sum(_resident_mb(child) for worker in below for child in children(worker))
        own, reading = _resident_mb(pid), sum(_resident_mb(worker) for worker in below)
        outcome.memory_mb.append((own, reading, own + reading + rest))


def _resident_mb(pid: int) -> float:
    """0 where the process has just ended."""
    try:
        rows = Path(f"/proc/{pid}/status").read_text("ascii", errors="replace").splitlines()
    except OSError:
        return 0.0
    return sum(int(row.split()[1]) for row in rows if row.startswith("VmRSS:")) / 1024


def restarts(server: Server) -> float:
    """Workers of the service that had to be replaced."""
    rows = server.client.get("/metrics").text.splitlines()
    counts = [float(row.split()[1]) for row in rows if row.startswith(_RESTARTS)]
    assert counts, f"/metrics says nothing of {_RESTARTS}"
    return sum(counts)


def main() -> int:
    """Send bodies to a service of its own; 1 where it did what it may not."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--bodies", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    detector, recognizer = (exported_folder(f"ppocrv6_tiny_{task}") for task in ("det", "rec"))
    reader = OcrReader.load(detector, recognizer)
    texts = [reader.read(page).text for page in golden_pages()]
    words = (f"detector={detector}", f"recognizer={recognizer}")
    with (
        tempfile.TemporaryDirectory() as folder,
        started(Path(folder) / "serve.log", *words) as server,
    ):
        server.wait(lambda: server.status("/readyz") == 200, START_S)
        outcome = attack(server, bodies(given.bodies, given.seed, texts))
        replaced, ended = restarts(server), server.process.poll()
        traces = server.log().count("Traceback")
    for (kind, status), number in sorted(outcome.statuses.items()):
        print(f"{kind:10} {status:4} {number:6}")
    for name, values in zip(
        ("service", "worker", "all"), zip(*outcome.memory_mb, strict=True), strict=True
    ):
        print(f"{name:10} {values[0]:6.0f} MB first {max(values):6.0f} most {values[-1]:6.0f} last")
    print(f"workers replaced: {replaced:g}; service ended: {ended}; traces in its log: {traces}")
    print("\n".join(outcome.faults) or "no fault")
    return int(bool(outcome.faults or replaced or ended is not None or traces))


if __name__ == "__main__":
    raise SystemExit(main())
