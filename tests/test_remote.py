"""Reading by a service: ``read --server`` says what ``read`` says here."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from ocr_pipeline.cli import app
from ocr_pipeline.client import OcrClient, OcrConnectionError, OcrServiceError
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.errors import ConfigError, ImageError
from ocr_pipeline.fonts import find_font
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.ops.decode import BGRImage, decode_image, read_image
from ocr_pipeline.ops.draw import Annotation, annotate
from ocr_pipeline.ops.golden import golden_pages
from ocr_pipeline.remote import RemoteReader
from tests.conftest import ExportedPair
from tests.serving.servers import ready

ENGINE = "openvino-fp32"
KEYS = ["--key-env", "OCR_TEST_KEY"]


@pytest.fixture(scope="module")
def url(exported_tiny: ExportedPair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a running service that is ready."""
    folders = (f"detector={exported_tiny.det}", f"recognizer={exported_tiny.rec}")
    log = tmp_path_factory.mktemp("service") / "log"
    with ready(log, *folders, f"engine.variant={ENGINE}") as server:
        yield str(server.client.base_url).rstrip("/")


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    paths = [str(tmp_path / f"{number}.png") for number in range(2)]
    for path, image in zip(paths, golden_pages(), strict=True):
        cv2.imwrite(path, image)
    return paths


def read(*words: str) -> Result:
    return CliRunner().invoke(app, ["read", *words])


def without_times(output: str) -> list[Any]:
    pages = [json.loads(line) for line in output.splitlines()]
    for page in pages:
        assert page.pop("milliseconds")["total"] > 0
    return pages


def test_command_prints_and_writes_the_same_by_a_service(
    url: str,
    exported_tiny: ExportedPair,
    pictures: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OCR_TEST_KEY", "secret")
    here = ["--det", str(exported_tiny.det), "--rec", str(exported_tiny.rec), "--engine", ENGINE]
    there = ["--server", url, *KEYS]
    results: dict[str, list[Any]] = {}
    for name, reader in (("here", here), ("there", there)):
        folder = tmp_path / name
        files = ["--hocr", str(folder / "p.hocr"), "--alto", str(folder / "p.xml")]
        plain = read(*pictures, *reader, *files, "--draw", str(folder))
        worded = read(*pictures, *reader, "--json", "--words")
        assert (plain.exit_code, worded.exit_code) == (0, 0)
        written = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert set(written) == {"p.hocr", "p.xml", "0.png", "1.png"}
        results[name] = [written, plain.stdout, without_times(worded.stdout)]
    assert results["there"][1:] == results["here"][1:]
    assert "TOTAL 1,280.50" in results["here"][1]
    # Places come rounded to a tenth of a pixel, which can be the next whole one in files.
    for name, own in results["here"][0].items():
        other = results["there"][0][name]
        if name.endswith(".png"):
            number = int(Path(name).stem)
            expected = drawn(pictures[number], results["here"][2][number])
            np.testing.assert_array_equal(decode_image(other), expected)
            continue
        parts, numbers = split(own.decode())
        other_parts, other_numbers = split(other.decode())
        assert other_parts == parts
        assert np.abs(other_numbers - numbers).max() <= 1


def drawn(picture: str, page: dict[str, Any]) -> BGRImage:
    """The picture with the lines of a page as JSON, whose places are rounded as a service's are."""
    lines = [
        Annotation(np.array(line["points"], np.float32), line["text"], line["confidence"])
        for line in page["lines"]
    ]
    return annotate(read_image(Path(picture)), lines, find_font(may_fetch=False))


def split(text: str) -> tuple[list[str], np.ndarray]:
    """What stands between the numbers of a text, and those."""
    number = re.compile(r"\d+(?:\.\d+)?")
    return number.split(text), np.array(number.findall(text), float)


def test_picture_that_the_service_refuses_does_not_stop_the_others(
    url: str, pictures: list[str], tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((1, 17_000, 3), np.uint8))
    result = read(
        str(tmp_path / "none.png"), str(tmp_path / "wide.png"), *pictures, "--server", url
    )
    assert result.exit_code == 1
    assert "TOTAL 1,280.50" in result.stdout
    for name in ("none.png", "wide.png"):
        assert re.search(rf"error: .*{name}", result.stderr)


def test_option_of_the_models_is_refused_with_a_service(pictures: list[str]) -> None:
    for option in (["--det", "x"], ["--threads", "3"], ["--no-turn"]):
        result = read(*pictures, "--server", "http://127.0.0.1:9", *option)
        assert isinstance(result.exception, ConfigError)
        assert "not with --server" in str(result.exception)


def test_key_that_is_not_there_is_told(
    pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OCR_TEST_KEY", raising=False)
    result = read(*pictures, "--server", "http://127.0.0.1:9", *KEYS)
    assert isinstance(result.exception, ConfigError)
    assert "OCR_TEST_KEY: no such environment variable" in str(result.exception)


def test_pixels_and_bytes_give_what_the_reader_gives(
    url: str, exported_tiny: ExportedPair, pictures: list[str]
) -> None:
    expected = OcrReader.load(
        exported_tiny.det, exported_tiny.rec, EngineConfig(variant=ENGINE)
    ).read(pictures[0], words=True)
    with OcrClient(url) as client:
        reader = RemoteReader(client)
        for picture in (
            golden_pages()[0],
            Path(pictures[0]).read_bytes(),
        ):
            page = reader.read(picture, words=True)
            assert page.as_dict()["lines"] == expected.as_dict()["lines"]
            assert (page.text, page.dropped) == (expected.text, expected.dropped)
            assert all(line.points.dtype == np.float32 for line in page.lines)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (413, ImageError, "^the service refuses it: 413 T: d$"),
        (422, ImageError, "^the service refuses it: 422 T: d$"),
        (401, OcrServiceError, "^401 T: d$"),
        (500, OcrServiceError, "^500 T: d$"),
        (None, OcrConnectionError, "ConnectError"),
    ],
)
def test_only_what_concerns_the_picture_is_its_fault(
    status: int | None, kind: type[Exception], said: str
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if status is None:
            raise httpx.ConnectError("no")
        return httpx.Response(status, json={"title": "T", "detail": "d"})

    client = OcrClient("http://service", retries=0, transport=httpx.MockTransport(answer))
    with pytest.raises(kind, match=said):
        RemoteReader(client).read(b"a picture")
