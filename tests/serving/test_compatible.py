"""``/ocr`` asked as clients of PaddleX's server ask, and what they make of the answer."""

import asyncio
import base64
import io
import json
import logging
import uuid
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image

from ocr_pipeline.config.documents import DocumentLimits
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.config.orientation import OrientationConfig
from ocr_pipeline.config.serve import FetchConfig, ServeConfig
from ocr_pipeline.formats import PdfPage, searchable_pdf
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.inference.reader import PageText
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.encode import encode_jpeg
from ocr_pipeline.ops.golden import golden_pages
from ocr_pipeline.serving.app import create_app
from tests.conftest import ExportedPair
from tests.serving.entries import entry_in, obedient
from tests.serving.in_process import Asked, asked
from tests.serving.servers import png

MAX_BYTES = 1_000_000
ENGINE = EngineConfig(variant="openvino-fp32")
"""Of the service and of the reader: they choose for themselves otherwise."""
KEYS = [
    "model_settings",
    "dt_polys",
    "text_det_params",
    "text_type",
    "textline_orientation_angles",
    "text_rec_score_thresh",
    "return_word_box",
    "rec_texts",
    "rec_scores",
    "rec_polys",
    "rec_boxes",
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, and the address where a web server of this machine offers its files."""
    folder = tmp_path_factory.mktemp("files")
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *parts: object) -> None: ...


@pytest.fixture(scope="module")
def service(exported_tiny: ExportedPair, files: tuple[Path, str]) -> Iterator[Asked]:
    """A service that is ready, gives pictures by default, and fetches files; none changes it."""
    config = ServeConfig(
        detector=str(exported_tiny.det),
        recognizer=str(exported_tiny.rec),
        engine=ENGINE,
        limits=ImageLimits(max_bytes=MAX_BYTES),
        documents=DocumentLimits(pdf_max_bytes=MAX_BYTES),
        fetch=FetchConfig.model_validate(
            {
                "allowed_hosts": [files[1].removeprefix("http://")],
                "allowed_networks": ["127.0.0.1/32"],
            }
        ),
    )
    with asked(config) as ready:
        yield ready


@pytest.fixture(scope="module")
def reader(exported_tiny: ExportedPair) -> OcrReader:
    return OcrReader.load(exported_tiny.det, exported_tiny.rec, ENGINE)


def page() -> BGRImage:
    return golden_pages()[0]


def turned_page() -> BGRImage:
    """The second of its four lines stands upside-down."""
    image = page().copy()
    image[80:160] = image[80:160][::-1, ::-1]
    return image


def infer(service: Asked, content: bytes | str, **options: Any) -> httpx.Response:
    file = content if isinstance(content, str) else base64.b64encode(content).decode("ascii")
    return service("POST", "/ocr", json={"file": file, "fileType": 1, **options})


def pruned(service: Asked, content: bytes | str, **options: Any) -> dict[str, Any]:
    answer = infer(service, content, **{"visualize": False, **options})
    assert answer.status_code == 200, answer.text
    [only] = answer.json()["result"]["ocrResults"]
    assert set(only) == {"prunedResult"}
    result: dict[str, Any] = only["prunedResult"]
    return result


def assert_refused(answer: httpx.Response, status: int, *said: str) -> None:
    """The answer is PaddleX's form of an error, and says all of ``said``."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    values = answer.json()
    assert list(values) == ["logId", "errorCode", "errorMsg"]
    assert values["errorCode"] == status
    assert values["logId"]
    for words in said:
        assert words in values["errorMsg"]


def rounded(points: np.ndarray) -> list[list[int]]:
    return [[round(float(value)) for value in point] for point in points]


# What the documented client does.


def test_client_of_the_documentation_gets_texts_and_writes_pictures(
    service: Asked, reader: OcrReader, tmp_path: Path
) -> None:
    (tmp_path / "demo.png").write_bytes(png(page()))
    file_data = base64.b64encode((tmp_path / "demo.png").read_bytes()).decode("ascii")
    response = service("POST", "/ocr", json={"file": file_data, "fileType": 1})
    assert response.status_code == 200
    result = response.json()["result"]
    for i, res in enumerate(result["ocrResults"]):
        assert res["prunedResult"]["rec_texts"] == [line.text for line in reader.read(page()).lines]
        (tmp_path / f"ocr_{i}.jpg").write_bytes(base64.b64decode(res["ocrImage"]))
        (tmp_path / f"input_{i}.jpg").write_bytes(base64.b64decode(res["inputImage"]))
    given = cv2.imread(str(tmp_path / "input_0.jpg"))
    assert given is not None
    assert given.shape == page().shape
    assert np.abs(given.astype(int) - page()).mean() < 2
    drawn = cv2.imread(str(tmp_path / "ocr_0.jpg"))
    assert drawn is not None
    assert drawn.shape[0] == page().shape[0]
    assert np.abs(drawn[:, :640].astype(int) - given).max() > 80  # boxes


def test_envelope_is_paddlex_s(service: Asked) -> None:
    answer = infer(service, png(page()), logId="mine", visualize=False).json()
    assert list(answer) == ["logId", "result", "errorCode", "errorMsg"]
    assert (answer["logId"], answer["errorCode"], answer["errorMsg"]) == ("mine", 0, "Success")
    assert answer["result"]["dataInfo"] == {"width": 640, "height": 320, "type": "image"}
    named = infer(service, png(page()), visualize=False).json()["logId"]
    assert str(uuid.UUID(named)) == named
    assert [*answer["result"]] == ["ocrResults", "dataInfo"]


def test_result_is_what_the_reader_reads_in_its_order(
    service: Asked, reader: OcrReader, exported_tiny: ExportedPair
) -> None:
    expected = reader.read(turned_page()).lines
    result = pruned(service, png(turned_page()))
    assert list(result) == KEYS
    assert result["rec_texts"] == [line.text for line in expected]
    assert result["rec_scores"] == [round(line.confidence, 4) for line in expected]
    assert [line.turned for line in expected] == [False, True, False, False]
    assert result["textline_orientation_angles"] == [0, 1, 0, 0]
    own = [line.points for line in expected]
    own[1] = np.roll(own[1], 2, axis=0)  # theirs begin at the top-left of the page
    assert result["dt_polys"] == result["rec_polys"] == [rounded(points) for points in own]
    for (left, top, right, bottom), poly in zip(
        result["rec_boxes"], result["rec_polys"], strict=True
    ):
        xs, ys = zip(*poly, strict=True)
        assert (left, top, right, bottom) == (min(xs), min(ys), max(xs), max(ys))
        assert poly[0][0] < poly[1][0]
        assert poly[0][1] < poly[3][1]
    spec = json.loads((exported_tiny.det / "exported.json").read_text())["model"]
    assert result["text_det_params"] == {
        "limit_side_len": spec["image"]["min_side"],
        "limit_type": "min",
        "thresh": spec["decode"]["threshold"],
        "max_side_limit": spec["image"]["max_side"],
        "box_thresh": spec["decode"]["min_score"],
        "unclip_ratio": spec["decode"]["unclip_ratio"],
    }
    assert result["model_settings"] == {
        "use_doc_preprocessor": False,
        "use_textline_orientation": True,
    }
    assert (result["text_type"], result["text_rec_score_thresh"]) == ("general", 0.0)
    assert result["return_word_box"] is False


def test_page_without_text_has_empty_lists(service: Asked) -> None:
    blank = np.full((200, 300, 3), 255, dtype=np.uint8)
    result = pruned(service, png(blank), returnWordBox=True)
    lists = [value for value in result.values() if isinstance(value, list)]
    assert lists == [[]] * 8


def test_word_boxes_stand_where_the_reader_finds_the_words(
    service: Asked, reader: OcrReader
) -> None:
    result = pruned(service, png(page()), returnWordBox=True)
    assert list(result) == [*KEYS, "text_word_boxes", "text_word"]
    assert result["return_word_box"] is True
    lines = reader.read(page(), words=True).lines
    assert result["text_word"] == [[word.text for word in line.words or ()] for line in lines]
    assert [len(words) for words in result["text_word"]] == [
        len(boxes) for boxes in result["text_word_boxes"]
    ]
    for line, boxes in zip(lines, result["text_word_boxes"], strict=True):
        for word, (left, top, right, bottom) in zip(line.words or (), boxes, strict=True):
            assert [left, top] == rounded(word.points.min(axis=0)[None])[0]
            assert [right, bottom] == rounded(word.points.max(axis=0)[None])[0]


def test_lines_below_the_score_threshold_are_left_out_but_stay_detected(service: Asked) -> None:
    whole = pruned(service, png(page()))
    scores = sorted(whole["rec_scores"])
    limit = (scores[0] + scores[1]) / 2
    assert scores[0] < limit < scores[1]
    result = pruned(service, png(page()), textRecScoreThresh=limit)
    weakest = whole["rec_scores"].index(scores[0])
    for key in ("rec_texts", "rec_scores", "rec_polys", "rec_boxes"):
        assert result[key] == [*whole[key][:weakest], *whole[key][weakest + 1 :]]
    assert result["dt_polys"] == whole["dt_polys"]
    assert len(result["textline_orientation_angles"]) == len(whole["dt_polys"])
    assert result["text_rec_score_thresh"] == limit


def test_photo_is_given_upright(service: Asked) -> None:
    lying = Image.fromarray(np.ascontiguousarray(np.rot90(page())[:, :, ::-1]))
    tags, file = Image.Exif(), io.BytesIO()
    tags[0x0112] = 6
    lying.save(file, "JPEG", quality=95, exif=tags)
    answer = infer(service, file.getvalue(), visualize=False).json()["result"]
    assert answer["dataInfo"] == {"width": 640, "height": 320, "type": "image"}


@pytest.mark.parametrize("kind", ["pdf", "tiff"])
def test_pages_of_a_document_are_results_in_order(
    kind: str, service: Asked, reader: OcrReader
) -> None:
    images = golden_pages()
    if kind == "pdf":
        blank = [PageText([], image.shape[1], image.shape[0], {}, {}) for image in images]
        jpegs = [encode_jpeg(image, 95) for image in images]
        drawn = [PdfPage(t, j, 144.0) for t, j in zip(blank, jpegs, strict=True)]
        content = searchable_pdf(drawn)
    else:
        first, second = (Image.fromarray(image) for image in images)
        file = io.BytesIO()
        first.save(file, "TIFF", save_all=True, append_images=[second])
        content = file.getvalue()
    result = infer(service, content, fileType=0, visualize=True).json()["result"]
    texts = [one["prunedResult"]["rec_texts"] for one in result["ocrResults"]]
    assert texts == [[line.text for line in reader.read(image).lines] for image in images]
    assert all(one["ocrImage"] and one["inputImage"] for one in result["ocrResults"])
    info = result["dataInfo"]
    assert (info["type"], info["numPages"]) == (kind, 2)
    ratios = [size["width"] / size["height"] for size in info["pages"]]
    assert ratios == pytest.approx([640 / 320, 480 / 128], rel=0.02)


def test_pictures_are_given_as_paddlex_does_where_the_request_does_not_say() -> None:
    assert ServeConfig().compatible.visualize is True


def test_base64_may_be_broken_into_lines(service: Asked) -> None:
    wrapped = base64.encodebytes(png(page())).decode()
    assert "\n" in wrapped.strip()
    assert pruned(service, wrapped)["rec_texts"] == pruned(service, png(page()))["rec_texts"]


# Options.


def test_null_false_and_what_is_served_anyway_are_taken(service: Asked) -> None:
    plain = pruned(service, png(page()))
    params = plain["text_det_params"]
    names = (
        "useDocOrientationClassify useDocUnwarping useTextlineOrientation textDetLimitSideLen "
        "textDetLimitType textDetThresh textDetBoxThresh textDetUnclipRatio textRecScoreThresh "
        "returnWordBox logId"
    )
    assert pruned(service, png(page()), **dict.fromkeys(names.split())) == plain
    same = pruned(
        service,
        png(page()),
        useDocOrientationClassify=False,
        useDocUnwarping=False,
        useTextlineOrientation=False,
        textDetLimitSideLen=params["limit_side_len"],
        textDetLimitType=params["limit_type"],
        textDetThresh=params["thresh"],
        textDetBoxThresh=params["box_thresh"],
        textDetUnclipRatio=params["unclip_ratio"],
        fileType=None,
        somethingOfAnotherPipeline=1,
    )
    assert same == plain
    assert same["model_settings"]["use_textline_orientation"] is True  # as it was, and said so


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"useDocOrientationClassify": True}, "useDocOrientationClassify: true"),
        ({"useDocUnwarping": True}, "useDocUnwarping: true"),
        ({"textDetLimitSideLen": 960}, "textDetLimitSideLen: 960; the detector is served with 64"),
        ({"textDetLimitType": "max"}, "textDetLimitType: 'max'; the detector is served with 'min'"),
        ({"textDetThresh": 0.55}, "textDetThresh: 0.55"),
        ({"textDetBoxThresh": 0.99}, "textDetBoxThresh: 0.99"),
        ({"textDetUnclipRatio": 3}, "textDetUnclipRatio: 3.0"),
    ],
)
def test_option_that_is_not_served_is_refused_by_name(
    options: dict[str, Any], said: str, service: Asked
) -> None:
    assert_refused(infer(service, png(page()), **options), 422, said)


def test_all_faults_are_told_at_once_under_the_client_s_log_id(service: Asked) -> None:
    answer = infer(service, png(page()), useDocUnwarping=True, textDetThresh=0.55, logId="mine")
    assert_refused(answer, 422, "useDocUnwarping", "textDetThresh")
    assert answer.json()["logId"] == "mine"


# Errors.


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"fileType": 1, "logId": "mine"}, ["body.file", "missing"]),
        ({"file": "", "fileType": 2, "logId": "mine"}, ["body.fileType", "0 or 1"]),
        ({"file": "", "visualize": "perhaps", "logId": "mine"}, ["body.visualize", "boolean"]),
    ],
)
def test_request_of_another_form_is_told_as_paddlex_tells_it(
    body: dict[str, Any], said: list[str], service: Asked
) -> None:
    answer = service("POST", "/ocr", json=body)
    assert_refused(answer, 422, *said)
    assert answer.json()["logId"] == "mine"
    [fault] = json.loads(answer.json()["errorMsg"])
    assert set(fault) == {"type", "loc", "msg"}


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"file": ["a"]}', b'{"file": "", "logId": 1}'])
def test_body_that_is_no_such_object_is_422(content: bytes, service: Asked) -> None:
    headers = {"Content-Type": "application/json"}
    assert_refused(service("POST", "/ocr", content=content, headers=headers), 422)


@pytest.mark.parametrize(
    ("file", "status", "said"),
    [
        ("page.png", 422, "not base64"),
        ("", 422, "empty"),
        (base64.b64encode(b"GIF89a and so on").decode(), 415, "not a picture"),
        (base64.b64encode(png(page())[:2000]).decode(), 422, "cut off"),
        (base64.b64encode(bytes(MAX_BYTES + 1)).decode(), 413, "1,000,001"),
    ],
)
def test_file_that_cannot_be_read_is_told_in_paddlex_s_envelope(
    file: str, status: int, said: str, service: Asked
) -> None:
    assert_refused(infer(service, file), status, said)


async def dribbled() -> AsyncIterator[bytes]:
    for _ in range(40):
        yield bytes(50_000)


def test_body_that_is_too_long_is_413_announced_or_not(service: Asked) -> None:
    headers = {"Content-Type": "application/json"}
    for content in (bytes(2 * MAX_BYTES), dribbled()):
        answer = service("POST", "/ocr", content=content, headers=headers)
        assert_refused(answer, 413, "files of 1,000,000 bytes")


def test_while_models_load_it_is_503_with_retry_after() -> None:
    async def ask() -> httpx.Response:
        app = create_app(ServeConfig())  # nothing is started
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.post("/ocr", json={"file": "", "fileType": 1})

    answer = asyncio.run(ask())
    assert_refused(answer, 503, "loading")
    assert answer.headers["retry-after"] == "1"


def test_fault_of_ours_is_a_bare_500_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("segment 7 of /srv/secret")

    monkeypatch.setattr("ocr_pipeline.serving.routes.compatible._pruned", broken)
    with asked(ServeConfig(), entry_in(tmp_path, obedient)) as service:
        answer = infer(service, b"page 640 after 0", logId="mine")
    assert_refused(answer, 500, "the operator's log says why")
    assert answer.json()["logId"] == "mine"
    assert "secret" not in answer.text
    [record] = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert "segment 7" in str(record.exc_info[1])


def test_picture_that_ends_two_workers_is_a_500_that_says_so(tmp_path: Path) -> None:
    with asked(ServeConfig(), entry_in(tmp_path, obedient)) as service:
        assert_refused(infer(service, b"die"), 500, "ended two processes")


def test_orientation_that_is_switched_off_is_said_and_cannot_be_asked_for(
    tmp_path: Path,
) -> None:
    off = OrientationConfig(enabled=False)
    config = ServeConfig(orientation=off)
    with asked(config, entry_in(tmp_path, obedient)) as service:
        result = pruned(service, b"page 640 after 0", useTextlineOrientation=False)
        refused = infer(service, b"page 640 after 0", useTextlineOrientation=True)
    assert result["model_settings"]["use_textline_orientation"] is False
    assert_refused(refused, 422, "useTextlineOrientation: true")


def test_health_says_what_paddlex_says(service: Asked) -> None:
    answer = service("GET", "/health").json()
    assert (answer["errorCode"], answer["errorMsg"]) == (0, "Healthy")
    assert uuid.UUID(answer["logId"])


# URLs.


def test_file_is_fetched_from_an_allowed_host(service: Asked, files: tuple[Path, str]) -> None:
    folder, address = files
    (folder / "page.png").write_bytes(png(page()))
    by_url = pruned(service, f"{address}/page.png", fileType=None)
    assert by_url == pruned(service, png(page()))
    assert_refused(infer(service, f"{address}/none.png"), 502, "404")
    refused = infer(service, "http://example.org/page.png", logId="mine")
    assert_refused(refused, 422, "example.org", "fetch.allowed_hosts")
    assert refused.json()["logId"] == "mine"
