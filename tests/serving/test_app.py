"""The HTTP service, called in this process: what it answers to which request."""

import asyncio
import base64
import io
import json
import logging
import multiprocessing
import shutil
import struct
import time
import zlib
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    MutableMapping,
)
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from xml.etree import ElementTree

import cv2
import httpx
import numpy as np
import pypdfium2
import pytest
from PIL import Image

from ocr_pipeline.artifacts.exported import CARD_NAME
from ocr_pipeline.config.documents import DocumentLimits
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.config.orientation import OrientationConfig
from ocr_pipeline.config.serve import BatchConfig, ServeConfig
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.ops.decode import BGRImage, decode_image
from ocr_pipeline.ops.geometry import crop_line
from ocr_pipeline.ops.golden import golden_pages
from ocr_pipeline.serving.app import create_app
from ocr_pipeline.serving.process import WorkerEntry
from ocr_pipeline.serving.worker import run_worker
from tests.conftest import ExportedPair
from tests.serving.entries import (
    broken_once,
    broken_while_loading,
    entry_in,
    held_while_loading,
    held_while_reading,
    obedient,
)
from tests.serving.servers import png

DEADLINE_S = 20
LOAD_S = 60  # a process imports Paddle and tries every form of two models
MAX_BYTES = 1_000_000
ResultT = TypeVar("ResultT")


class Service:
    """The application between the start and the end of its lifespan, and a client of it."""

    def __init__(self, config: ServeConfig, entry: WorkerEntry = run_worker) -> None:
        app = create_app(config, entry)
        self._runner = asyncio.Runner()
        self._lifespan = app.router.lifespan_context(app)
        self.app = app
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://service")

    def __enter__(self) -> "Service":
        self.run(self._enter())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.run(self._exit())
        self._runner.close()

    async def _enter(self) -> None:
        await self._lifespan.__aenter__()

    async def _exit(self) -> None:
        await self.client.aclose()
        await self._lifespan.__aexit__(None, None, None)

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        return self._runner.run(work)

    def get(self, path: str) -> httpx.Response:
        return self.run(self.client.get(path))

    def post(self, content: bytes, **options: Any) -> httpx.Response:
        return self.run(self.upload(content, **options))

    async def upload(self, content: bytes, **options: Any) -> httpx.Response:
        files = {"file": ("page", content)}
        return await self.client.post("/v1/ocr", files=files, params=options)

    def wait_until_loaded(self) -> httpx.Response:
        """Poll /readyz until it no longer says ``loading``."""

        async def poll() -> httpx.Response:
            return await until(
                lambda: self.client.get("/readyz"),
                lambda a: a.json()["status"] != "loading",
                LOAD_S,
            )

        return self.run(poll())

    async def send_and_leave(
        self, route: str, files: Any, left: asyncio.Event | None = None
    ) -> int | None:
        """Send files and be gone: once ``left`` is set, else as soon as the service has them.

        Returns:
            The status of the answer, if there is one.
        """
        request = self.client.build_request("POST", route, files=files)
        to_come = [{"type": "http.request", "body": request.read(), "more_body": False}]
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            if to_come:
                return to_come.pop()
            if left is not None:
                await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": request.method,
            "path": request.url.path,
            "query_string": b"",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("127.0.0.1", 1),
        }
        await self.app(scope, receive, send)
        return statuses[0] if statuses else None


async def appears(file: Path) -> None:
    """Wait for a file that a reading process leaves."""
    async with asyncio.timeout(DEADLINE_S):
        while not file.exists():
            await asyncio.sleep(0.02)


@pytest.fixture
def config(exported_tiny: ExportedPair) -> ServeConfig:
    return ServeConfig(detector=str(exported_tiny.det), recognizer=str(exported_tiny.rec))


@pytest.fixture(scope="module")
def service(exported_tiny: ExportedPair) -> Iterator[Service]:
    """A service with its models loaded; no test changes it."""
    settings = ServeConfig(
        detector=str(exported_tiny.det),
        recognizer=str(exported_tiny.rec),
        limits=ImageLimits(max_bytes=MAX_BYTES),
        documents=DocumentLimits(pdf_max_bytes=MAX_BYTES, max_pages=5),
    )
    with Service(settings) as started:
        answer = started.wait_until_loaded()
        assert answer.status_code == 200, answer.text
        yield started


@pytest.fixture(scope="module")
def reader(exported_tiny: ExportedPair) -> OcrReader:
    return OcrReader.load(exported_tiny.det, exported_tiny.rec)


@pytest.fixture(scope="module")
def page_text(reader: OcrReader) -> str:
    """What the page says, read from its pixels without a service."""
    return reader.read(page()).text


async def until(
    ask: Callable[[], Awaitable[httpx.Response]],
    done: Callable[[httpx.Response], bool],
    limit_s: float = DEADLINE_S,
) -> httpx.Response:
    deadline = time.monotonic() + limit_s
    while True:
        answer = await ask()
        if done(answer) or time.monotonic() > deadline:
            return answer
        await asyncio.sleep(0.02)


def page() -> BGRImage:
    return golden_pages()[0]


def first_page(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()["pages"][0]
    return page


def digest_of(content: bytes) -> str:
    return sha256(decode_image(content).tobytes()).hexdigest()


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def as_pil(image: BGRImage) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))


def jpeg(image: BGRImage) -> bytes:
    return saved(as_pil(image), "JPEG", quality=95)


def huge_png(side: int) -> bytes:
    """The beginning of a black-and-white PNG with ``side * side`` px."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)


def assert_problem(answer: httpx.Response, status: int, *said: str) -> None:
    """The answer is an RFC 9457 problem of this status, and its detail says all of ``said``."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["type"] == "about:blank"
    assert problem["status"] == status
    assert problem["title"]
    for words in said:
        assert words in problem["detail"]


# Pictures that are read.


def test_answer_is_what_the_reader_itself_reads_on_these_pixels(
    service: Service, reader: OcrReader
) -> None:
    answer = service.post(png(page()))
    assert answer.status_code == 200
    got = answer.json()
    [only] = got.pop("pages")
    expected = json.loads(json.dumps(reader.read(page()).as_dict()))
    assert set(only.pop("milliseconds")) == set(expected.pop("milliseconds"))
    assert only == {"page": 1, "dpi": None, **expected}
    assert set(got) == {"text", "page_count", "models"}
    assert (got["text"], got["page_count"]) == (only["text"], 1)
    assert "TOTAL 1,280.50" in got["text"].splitlines()
    assert set(got["models"]) == {"detector", "recognizer"}
    assert got["models"]["recognizer"].startswith("ppocrv6_tiny_rec (")


def test_base64_in_json_is_read_as_the_same_file_in_a_form(service: Service) -> None:
    content = png(page())
    body = {"file": base64.b64encode(content).decode()}
    answer = service.run(service.client.post("/v1/ocr", json=body))
    assert answer.status_code == 200, answer.text
    assert answer.json()["pages"][0]["lines"] == first_page(service.post(content))["lines"]


def test_page_is_given_upright_where_asked_for(service: Service) -> None:
    content = saved(turned(page()), "JPEG", quality=95, exif=exif(6))
    given = first_page(service.post(content, picture=True))["picture"]
    assert given["media_type"] == "image/jpeg"
    pixels = cv2.imdecode(
        np.frombuffer(base64.b64decode(given["data"]), np.uint8), cv2.IMREAD_COLOR
    )
    assert pixels.shape == page().shape
    assert np.abs(pixels.astype(int) - page()).mean() < 2


def test_words_and_characters_are_told_where_asked_for(service: Service, reader: OcrReader) -> None:
    got = first_page(service.post(png(page()), words=True))
    expected = json.loads(json.dumps(reader.read(page(), words=True).as_dict()))
    assert got["lines"] == expected["lines"]
    assert got["lines"][0]["words"]
    plain = first_page(service.post(png(page())))
    assert not any({"words", "characters"} & line.keys() for line in plain["lines"])


def test_other_forms_say_the_same(service: Service, page_text: str) -> None:
    text, hocr, alto = (
        service.post(png(page()), output=form, words=True) for form in ("text", "hocr", "alto")
    )
    assert (text.headers["content-type"], text.text) == (
        "text/plain; charset=utf-8",
        page_text + "\n",
    )
    assert hocr.headers["content-type"] == "application/xhtml+xml; charset=utf-8"
    assert alto.headers["content-type"] == "application/xml; charset=utf-8"
    spaces = {"a": "http://www.loc.gov/standards/alto/ns-v4#"}
    root = ElementTree.fromstring(alto.content)
    words = [string.get("CONTENT") for string in root.findall(".//a:String", spaces)]
    assert words == page_text.split()
    for word in page_text.split():
        assert word in hocr.text
    refused = service.post(png(page()), output="docx")
    assert_problem(refused, 422, "query.output", "'json', 'text', 'hocr', 'alto' or 'pdf'")


def test_upside_down_line_is_read_and_said_to_be_turned_unless_switched_off(
    service: Service, config: ServeConfig, page_text: str
) -> None:
    image = page().copy()
    image[80:160] = image[80:160][::-1, ::-1]
    answer = first_page(service.post(png(image)))
    assert answer["text"] == page_text
    assert [line["turned"] for line in answer["lines"]] == [False, True, False, False]
    off = OrientationConfig(enabled=False)
    with Service(config.model_copy(update={"orientation": off})) as once:
        once.wait_until_loaded()
        plain = first_page(once.post(png(image)))
    assert plain["text"] != page_text
    assert not any(line["turned"] for line in plain["lines"])


def grey(image: BGRImage) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def grey16_png(image: BGRImage) -> bytes:
    # The lower byte is noise: only the upper one says what is on the page.
    return png(grey(image).astype(np.uint16) * 256 + 90)


def ink_on_nothing(image: BGRImage) -> bytes:
    """RGBA: every pixel is black, and the text is in the alpha channel alone."""
    ink = np.zeros((*image.shape[:2], 4), dtype=np.uint8)
    ink[:, :, 3] = 255 - grey(image)
    return png(ink)


def turned(image: BGRImage) -> Image.Image:
    """As a camera held upright stores it: lying on its side; orientation 6 turns it back."""
    return as_pil(np.rot90(image))


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


ENCODINGS: dict[str, Callable[[BGRImage], bytes]] = {
    "jpeg": jpeg,
    "webp": lambda image: saved(as_pil(image), "WEBP", lossless=True),
    "bmp": lambda image: saved(as_pil(image), "BMP"),
    "grey png": lambda image: png(grey(image)),
    "16-bit grey png": grey16_png,
    "rgba png": ink_on_nothing,
    "palette png": lambda image: saved(as_pil(image).quantize(16), "PNG"),
    "cmyk jpeg": lambda image: saved(as_pil(image).convert("CMYK"), "JPEG", quality=95),
    "cmyk tiff": lambda image: saved(as_pil(image).convert("CMYK"), "TIFF"),
    "turned jpeg": lambda image: saved(turned(image), "JPEG", quality=95, exif=exif(6)),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_same_page_in_another_encoding_gives_the_same_text(
    encoding: str, service: Service, page_text: str
) -> None:
    answer = service.post(ENCODINGS[encoding](page()))
    assert answer.status_code == 200, answer.text
    got = first_page(answer)
    assert got["text"] == page_text
    assert (got["height"], got["width"]) == page().shape[:2]


# Documents of several pages.


def tiff(*images: BGRImage) -> bytes:
    first, *rest = [as_pil(image) for image in images]
    return saved(first, "TIFF", save_all=True, append_images=rest, compression="tiff_lzw")


def pdf(*images: BGRImage) -> bytes:
    """Each picture as a page of 100 dpi; such a page is drawn at twice its size."""
    first, *rest = [as_pil(image) for image in images]
    return saved(first, "PDF", save_all=True, append_images=rest, resolution=100, quality=95)


@pytest.mark.parametrize("make", [tiff, pdf])
def test_every_page_of_a_document_is_read_in_order(
    make: Callable[..., bytes], service: Service, reader: OcrReader
) -> None:
    images = [golden_pages()[1], page(), golden_pages()[1]]
    content = make(*images)
    answer = service.post(content)
    pages = [first_page(answer), *answer.json()["pages"][1:]]
    texts = [reader.read(image).text for image in images]
    assert [one["text"] for one in pages] == texts
    assert [one["page"] for one in pages] == [1, 2, 3]
    assert (answer.json()["text"], answer.json()["page_count"]) == ("\f".join(texts), 3)
    assert {one["dpi"] for one in pages} == ({200.0} if make is pdf else {None})
    chosen = service.post(content, pages="2-3").json()
    assert ([one["page"] for one in chosen["pages"]], chosen["page_count"]) == ([2, 3], 3)
    assert chosen["pages"][0]["lines"] == pages[1]["lines"]
    files = {"files": ("a.tif", content)}
    lines = lines_of(service.run(service.client.post("/v1/ocr/batch", files=files)))
    assert [line["page"] for line in lines] == [1, 2, 3]
    assert [line["lines"] for line in lines] == [one["lines"] for one in pages]


def test_pages_that_are_not_there_are_422(service: Service) -> None:
    answer = service.post(tiff(page(), page()), pages="2-3")
    assert_problem(answer, 422, "query.pages", "'2-3'", "2 pages", "from 1 to 2")
    assert_problem(service.post(png(page()), pages="x"), 422, "query.pages", "e.g. 1-3,7")


def test_document_of_too_many_pages_is_413_with_both_numbers(service: Service) -> None:
    blank = np.full((40, 40, 3), 255, dtype=np.uint8)
    answer = service.post(pdf(*[blank] * 6))
    assert_problem(answer, 413, "has 6 pages; allowed: 5", "documents.max_pages")


def test_bad_page_of_a_document_is_named_and_in_a_batch_sinks_no_other(service: Service) -> None:
    whole = tiff(page(), golden_pages()[1])
    # The second directory says that its picture is a million pixels wide.
    tag, width = struct.pack("<H", 256), golden_pages()[1].shape[1]
    at = max(whole.rfind(tag + struct.pack("<HII", kind, 1, width)) for kind in (3, 4))
    bad = whole[:at] + tag + struct.pack("<HII", 4, 1, 1_000_000) + whole[at + 12 :]
    assert_problem(service.post(bad), 413, "page 2 of 2: ")
    good = service.post(bad, pages="1")
    assert first_page(good)["text"] == first_page(service.post(png(page())))["text"]
    files = [("files", ("bad.tif", bad)), ("files", ("good.png", png(page())))]
    lines = lines_of(service.run(service.client.post("/v1/ocr/batch", files=files)))
    assert [(a["index"], a["page"], a["page_count"], "error" in a) for a in lines] == [
        (0, 1, 2, False),
        (0, 2, 2, True),
        (1, 1, 1, False),
    ]


def test_pdf_that_cannot_be_opened_is_an_error_of_the_whole_file(service: Service) -> None:
    assert_problem(service.post(b"%PDF-1.7 and so on"), 422, "PDF", "its end is missing")
    files = [("files", ("bad.pdf", b"%PDF-1.7")), ("files", ("good.png", png(page())))]
    bad, good = lines_of(service.run(service.client.post("/v1/ocr/batch", files=files)))
    assert (bad["page"], bad["error"]["status"]) == (None, 422)
    assert "page_count" not in bad
    assert good["page"] == 1


def test_searchable_pdf_holds_the_text(service: Service) -> None:
    answer = service.post(tiff(page(), golden_pages()[1]), output="pdf")
    assert answer.headers["content-type"] == "application/pdf"
    texts = [first_page(service.post(png(image)))["text"] for image in golden_pages()]
    with pypdfium2.PdfDocument(answer.content) as document:
        found = [one.get_textpage().get_text_range() for one in document]
    assert [text.split() for text in found] == [text.split() for text in texts]


def test_blank_page_has_no_lines_and_is_no_error(service: Service) -> None:
    answer = service.post(png(np.full((200, 300, 3), 255, dtype=np.uint8)))
    assert (first_page(answer)["lines"], answer.json()["text"]) == ([], "")


# Pictures and requests that are refused.


def test_upload_that_is_no_picture_is_415(service: Service) -> None:
    answer = service.post(b"PK and so on")
    assert_problem(answer, 415, "not a picture", "PK", "JPEG, PNG, BMP, WEBP, TIFF")


def test_empty_upload_is_422(service: Service) -> None:
    assert_problem(service.post(b""), 422, "empty (0 bytes)")


def test_truncated_jpeg_is_422_and_named_with_its_size(service: Service) -> None:
    content = jpeg(page())
    answer = service.post(content[: len(content) // 2])
    assert_problem(answer, 422, "JPEG of 640 x 320 px", "cut off", "send the complete file")


def test_picture_of_400_million_pixels_is_413_by_its_header(service: Service) -> None:
    assert_problem(service.post(huge_png(20_000)), 413, "too large", "400000000 pixels")


def test_picture_just_above_max_pixels_is_413_by_its_header(service: Service) -> None:
    answer = service.post(huge_png(7_000))
    assert_problem(answer, 413, "7000 x 7000 px = 49,000,000 px", "allowed: 40,000,000 px")


def test_body_announced_above_max_bytes_is_413(service: Service) -> None:
    answer = service.post(bytes(1_100_000))
    assert int(answer.request.headers["content-length"]) > 1_100_000
    assert_problem(answer, 413, "1,100,", "or more", "files of 1,000,000 bytes")


def test_body_without_length_is_413_as_soon_as_it_is_above_max_bytes(service: Service) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        yield (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="page.png"\r\n'
            b"Content-Type: image/png\r\n\r\n"
        )
        for _ in range(100):
            sent += 50_000
            yield bytes(50_000)
        yield b"\r\n--b--\r\n"

    form = {"content-type": "multipart/form-data; boundary=b"}
    answer = service.run(service.client.post("/v1/ocr", content=body(), headers=form))
    assert "content-length" not in answer.request.headers
    assert_problem(answer, 413, "or more", "files of 1,000,000 bytes")
    assert sent == 1_100_000


def test_picture_above_max_bytes_in_a_body_below_the_limit_is_413(service: Service) -> None:
    answer = service.post(bytes(MAX_BYTES + 1))
    assert_problem(answer, 413, "1,000,001 bytes", "allowed: 1,000,000")


def test_picture_of_max_bytes_is_looked_at(service: Service) -> None:
    assert_problem(service.post(bytes(MAX_BYTES)), 415, "not a picture (1,000,000 bytes")


@pytest.mark.parametrize(
    "request_body",
    [
        {},
        {"files": {"picture": ("page.png", b"x")}},
        {"data": {"file": "page.png"}},
        {"files": [("file", ("1.png", b"x")), ("file", ("2.png", b"x"))]},
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        {"content": b"x", "headers": {"content-type": "image/png"}},
    ],
    ids=["no body", "other field", "text in the field", "two", "no form", "bare picture"],
)
def test_request_without_a_file_in_the_field_is_422_and_shows_how(
    request_body: dict[str, Any], service: Service
) -> None:
    answer = service.run(service.client.post("/v1/ocr", **request_body))
    assert_problem(answer, 422, "body", "multipart/form-data", "curl -F file=@page.png")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'["x"]', "'list'"),
        (b'{"picture": "eA=="}', "['picture']"),
        (b'{"file": "eA==", "url": "http://x"}', "['file', 'url']"),
        (b'{"file": 7}', "not a text, but int"),
        (b'{"file": "page.png"}', "not base64"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_json_of_another_form_is_422(body: bytes, said: str, service: Service) -> None:
    kind = {"content-type": "application/json"}
    answer = service.run(service.client.post("/v1/ocr", content=body, headers=kind))
    assert_problem(answer, 422, said, '{"file": "<base64>"}')


def test_base64_of_max_bytes_fits_in_its_body(service: Service) -> None:
    body = {"file": base64.b64encode(bytes(MAX_BYTES)).decode()}
    answer = service.run(service.client.post("/v1/ocr", json=body))
    assert_problem(answer, 415, "not a picture (1,000,000 bytes")


# Many files.


def lines_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_batch_answers_page_by_page_and_a_bad_file_sinks_no_other(service: Service) -> None:
    contents = {"a.png": png(page()), "b.zip": b"PK", "c.jpg": jpeg(golden_pages()[1])}
    files = [("files", item) for item in contents.items()]
    answers = lines_of(service.run(service.client.post("/v1/ocr/batch", files=files)))
    assert [(a["index"], a["file"], a["page"]) for a in answers] == [
        (0, "a.png", 1),
        (1, "b.zip", 1),
        (2, "c.jpg", 1),
    ]
    assert set(answers[1]) == {"index", "file", "page", "page_count", "error"}
    assert (answers[1]["error"]["status"], answers[1]["error"]["title"]) == (415, "Not a picture")
    for answer, name in ((answers[0], "a.png"), (answers[2], "c.jpg")):
        assert answer["lines"] == first_page(service.post(contents[name]))["lines"]
        assert answer["page_count"] == 1


def test_lines_are_read_as_they_are(service: Service, reader: OcrReader) -> None:
    found = reader.read(page())
    crops = [crop_line(page(), line.points) for line in found.lines]
    files = [("files", (f"{n}.png", png(crop))) for n, crop in enumerate(crops)]
    files.insert(1, ("files", ("bad.png", b"bad")))
    answer = service.run(service.client.post("/v1/recognize", files=files))
    assert answer.status_code == 200, answer.text
    lines = answer.json()["lines"]
    assert lines.pop(1)["error"]["status"] == 415
    assert [line["text"] for line in lines] == [line.text for line in found.lines]
    assert not any(line["turned"] for line in lines)


@pytest.mark.parametrize(("route", "most"), [("/v1/ocr/batch", 2), ("/v1/recognize", 3)])
def test_more_files_than_allowed_are_422(
    route: str, most: int, config: ServeConfig, tmp_path: Path
) -> None:
    few = config.model_copy(update={"batch": BatchConfig(max_files=2, max_lines=3)})
    with Service(few, entry_in(tmp_path, held_while_loading)) as service:
        files = [("files", (f"{n}.png", b"x")) for n in range(most + 1)]
        answer = service.run(service.client.post(route, files=files))
        assert_problem(answer, 422, "Too many files", str(most), "curl -F files=@1.png")
        none = service.run(service.client.post(route, data={"files": "x"}))
        assert_problem(none, 422, "body.files", "multipart/form-data")
        ready = service.run(service.client.post(route, files=files[:most]))
        assert_problem(ready, 503, "not ready (loading)")
        (tmp_path / "open").touch()


def test_batch_whose_client_leaves_gives_its_place_back(
    config: ServeConfig, tmp_path: Path
) -> None:
    contents = [png(image) for image in (*golden_pages(), page()[::-1], page()[:, ::-1])]
    begun = [tmp_path / digest_of(content) for content in contents]
    one = EngineConfig(threads=1, variant="paddle-fp32")
    config = config.model_copy(update={"engine": one, "max_waiting": 1})
    files = [("files", ("page", content)) for content in contents]

    async def leave(service: Service) -> None:
        left = asyncio.Event()
        sending = asyncio.create_task(service.send_and_leave("/v1/ocr/batch", files, left))
        for file in begun[:2]:
            await appears(file)
        full = await service.upload(contents[0])
        assert_problem(full, 503, "1 requests wait already")
        left.set()
        await sending
        (tmp_path / "open").touch()

    with Service(config, entry_in(tmp_path, held_while_reading)) as service:
        service.wait_until_loaded()
        service.run(leave(service))
        assert service.post(contents[0]).status_code == 200
    assert [file.exists() for file in begun] == [True, True, False, False]


def test_wrong_method_is_405_and_names_the_right_one(service: Service) -> None:
    answer = service.get("/v1/ocr")
    assert_problem(answer, 405, "GET /v1/ocr", "method not allowed", "/openapi.json")
    assert answer.headers["allow"] == "POST"


def test_unknown_route_is_404(service: Service) -> None:
    assert_problem(service.get("/v2/ocr"), 404, "GET /v2/ocr", "not found", "/openapi.json")


# State of the service.


def test_while_loading_it_is_alive_but_not_ready_and_reads_nothing(
    config: ServeConfig, tmp_path: Path
) -> None:
    with Service(config, entry_in(tmp_path, held_while_loading)) as service:
        alive, ready, read = service.get("/livez"), service.get("/readyz"), service.post(b"x")
        (tmp_path / "open").touch()
        loaded = service.wait_until_loaded()
        after = service.post(png(page()))
    assert (alive.status_code, alive.json()["status"]) == (200, "alive")
    assert (ready.status_code, ready.json()) == (503, {"status": "loading", "detail": ""})
    assert_problem(read, 503, "not ready (loading)", "/readyz", "try again")
    assert read.headers["retry-after"] == "1"
    assert (loaded.status_code, loaded.json()) == (200, {"status": "ready", "detail": ""})
    assert after.status_code == 200


def test_service_that_ends_while_loading_leaves_no_process(
    config: ServeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocr_pipeline.serving.process._STOP_S", 0.3)
    others = set(multiprocessing.active_children())
    with Service(config, entry_in(tmp_path, held_while_loading)) as service:
        assert service.get("/readyz").json()["status"] == "loading"
        [started] = set(multiprocessing.active_children()) - others
    assert not started.is_alive()


def test_models_tell_which_engine_serves_and_why(service: Service) -> None:
    got = service.get("/v1/models").json()
    assert set(got) == {"detector", "recognizer"}
    for role, task in (("detector", "det"), ("recognizer", "rec")):
        model = got[role]
        assert (model["name"], model["task"]) == (f"ppocrv6_tiny_{task}", task)
        assert len(model["checkpoint"]) == 64
        assert model["engine"] in {figure["variant"] for figure in model["candidates"]}
        assert model["engine"] in model["reason"]
        assert all(figure["refused"] is None for figure in model["candidates"])


def failed(config: ServeConfig, entry: WorkerEntry = run_worker) -> str:
    """The reason that /readyz gives; the service lives on and reads nothing."""
    with Service(config, entry) as service:
        ready = service.wait_until_loaded()
        assert service.get("/livez").status_code == 200
        assert_problem(service.post(png(page())), 503, "not ready (failed)", "/readyz")
    assert ready.status_code == 503
    assert ready.json()["status"] == "failed"
    return str(ready.json()["detail"])


def test_model_that_does_not_read_its_golden_picture_as_at_export_is_not_served(
    exported_tiny: ExportedPair,
    config: ServeConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = Path(shutil.copytree(exported_tiny.rec, tmp_path / "rec"))
    card = json.loads((folder / CARD_NAME).read_text(encoding="utf-8"))
    read_at_export = card["golden"][1]["text"]
    card["golden"][1]["text"] = "TOTAL 9,999.99"
    (folder / CARD_NAME).write_text(json.dumps(card), encoding="utf-8")
    reason = failed(config.model_copy(update={"recognizer": str(folder)}))
    assert reason.startswith(f"EngineError: {folder}: no engine can serve it on this machine: ")
    assert "paddle-fp32: ppocrv6_tiny_rec: self-test of paddle-fp32 failed on golden pic" in reason
    assert f"read {read_at_export!r}" in reason
    assert "TOTAL 9,999.99" in reason
    assert "must not serve" in reason
    [record] = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert reason in record.getMessage()


def test_exported_folder_that_lacks_files_is_not_served_and_all_are_named(
    exported_tiny: ExportedPair,
    config: ServeConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = Path(shutil.copytree(exported_tiny.det, tmp_path / "det"))
    lost = ("golden/00.png", "paddle/inference.pdiparams")
    for name in lost:
        (folder / name).unlink()
    reason = failed(config.model_copy(update={"detector": str(folder)}))
    assert reason.startswith(f"ArtifactError: {folder}: is missing 2 of ")
    for name in lost:
        assert name in reason
    [record] = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert reason in record.getMessage()
    assert "Traceback" not in record.getMessage()  # the message explains it


def test_fault_of_ours_while_loading_is_logged_with_its_trace(
    config: ServeConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reason = failed(config, entry_in(tmp_path, broken_while_loading))
    assert reason == "RuntimeError: segment 7"
    [record] = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert reason in record.getMessage()
    assert "Traceback" in record.getMessage()
    assert "broken_load" in record.getMessage()


def test_two_folders_in_each_others_place_are_not_served(config: ServeConfig) -> None:
    swapped = {"detector": config.recognizer, "recognizer": config.detector}
    assert "holds a recognizer; give a detector" in failed(config.model_copy(update=swapped))


def test_openapi_names_every_error_and_there_are_no_pages_with_foreign_scripts(
    service: Service,
) -> None:
    paths = service.get("/openapi.json").json()["paths"]
    assert set(paths["/v1/ocr"]["post"]["responses"]) == {
        *("200", "401", "408", "413", "415", "422", "429"),
        *("500", "502", "503", "504"),
    }
    assert set(paths["/readyz"]["get"]["responses"]) == {"200", "503"}
    assert [service.get(path).status_code for path in ("/docs", "/redoc")] == [404, 404]


@pytest.mark.parametrize("charset", ["undefined", "raw-unicode-escape", "utf-16"])
@pytest.mark.parametrize("route", ["/v1/ocr", "/v1/ocr/batch", "/v1/recognize"])
def test_form_of_another_charset_is_422(route: str, charset: str, service: Service) -> None:
    """``undefined`` fails in Python, and some others give half characters, which JSON has not."""
    part = b'Content-Disposition: form-data; name="file"; filename="\\ud800"\r\n\r\n'
    answer = service.run(
        service.client.post(
            route,
            content=b"--x\r\n" + part + b"a\r\n--x--\r\n",
            headers={"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"},
        )
    )
    assert_problem(answer, 422, f"a form with charset '{charset}'; allowed: utf-8")


# Load and faults.


def test_request_above_max_waiting_is_503_with_retry_after_and_later_ones_are_read(
    config: ServeConfig, page_text: str, tmp_path: Path
) -> None:
    content = png(page())

    async def crowd(service: Service) -> tuple[httpx.Response, list[httpx.Response]]:
        first = asyncio.create_task(service.upload(content))
        await appears(tmp_path / digest_of(content))
        rest = await asyncio.gather(*(service.upload(content) for _ in range(4)))
        (tmp_path / "open").touch()
        return await first, rest

    one = config.model_copy(update={"max_waiting": 1})
    with Service(one, entry_in(tmp_path, held_while_reading)) as service:
        service.wait_until_loaded()
        first, rest = service.run(crowd(service))
        later = service.post(content)
    assert first.json()["text"] == page_text
    for answer in rest:
        assert_problem(answer, 503, "1 requests wait already", "try again in 1 s")
        assert answer.headers["retry-after"] == "1"
    assert later.json()["text"] == page_text


def test_request_not_read_in_time_is_504_and_one_that_had_not_begun_is_never_read(
    config: ServeConfig, tmp_path: Path
) -> None:
    pictures = [*golden_pages(), page()[::-1], page()[:, ::-1]]
    contents = [png(image) for image in pictures]
    begun = [tmp_path / digest_of(content) for content in contents]
    # Without lanes of its own, two pictures keep a process busy.
    config = config.model_copy(
        update={"timeout_s": 2.0, "engine": EngineConfig(threads=1, variant="paddle-fp32")}
    )

    async def slow(service: Service) -> list[httpx.Response]:
        first = [asyncio.create_task(service.upload(content)) for content in contents[:2]]
        for file in begun[:2]:
            await appears(file)
        return [await service.upload(contents[2]), *await asyncio.gather(*first)]

    with Service(config, entry_in(tmp_path, held_while_reading)) as service:
        service.wait_until_loaded()
        late = service.run(slow(service))
        (tmp_path / "open").touch()
        after = service.run(
            until(lambda: service.upload(contents[3]), lambda a: a.status_code == 200)
        )
    for answer in late:
        assert_problem(answer, 504, "not read in time")
    assert after.status_code == 200
    assert [file.exists() for file in begun] == [True, True, False, True]


def test_fault_of_the_reader_is_500_without_its_cause_and_does_not_end_the_service(
    config: ServeConfig, page_text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Service(config, entry_in(tmp_path, broken_once)) as service:
        service.wait_until_loaded()
        answer = service.post(png(page()))
        [told] = [r for r in caplog.records if r.name.endswith("worker") and r.exc_text]
        assert "RuntimeError: segment 7 of /srv/secret" in str(told.exc_text)
        assert vars(told)["fields"]["request_id"] == answer.headers["X-Request-ID"]
        assert_problem(answer, 500, "the operator's log says why")
        for word in ("RuntimeError", "segment 7", "secret", "Traceback", "File "):
            assert word not in answer.text
        assert service.post(png(page())).json()["text"] == page_text


def test_client_that_goes_away_is_not_read_for(config: ServeConfig, tmp_path: Path) -> None:
    contents = [png(image) for image in (*golden_pages(), page()[::-1])]
    begun = [tmp_path / digest_of(content) for content in contents]
    config = config.model_copy(update={"engine": EngineConfig(threads=1, variant="paddle-fp32")})

    async def crowd(service: Service) -> list[httpx.Response]:
        stay = [asyncio.create_task(service.upload(content)) for content in contents[:2]]
        for file in begun[:2]:
            await appears(file)
        files = {"file": ("page", contents[2])}
        assert await service.send_and_leave("/v1/ocr", files) == 499
        (tmp_path / "open").touch()
        return await asyncio.gather(*stay)

    with Service(config, entry_in(tmp_path, held_while_reading)) as service:
        service.wait_until_loaded()
        assert [answer.status_code for answer in service.run(crowd(service))] == [200, 200]
        assert service.post(png(page())).status_code == 200
    assert [file.exists() for file in begun] == [True, True, False]


def test_picture_that_ends_two_processes_is_500_and_says_so(tmp_path: Path) -> None:
    with Service(ServeConfig(silence_s=5), entry_in(tmp_path, obedient)) as service:
        assert service.wait_until_loaded().status_code == 200
        answer = service.post(b"die")
        assert_problem(answer, 500, "ended two processes", "not tried again", "operator")
        service.run(until(lambda: service.client.get("/readyz"), lambda a: a.status_code == 200))
        assert service.get("/livez").status_code == 200
