"""The client, against the service as it is run, and against answers that go wrong."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from ocr_pipeline.client import (
    CutLine,
    Document,
    OcrClient,
    OcrConnectionError,
    OcrServiceError,
    Page,
)
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.ops.decode import BGRImage, decode_image
from ocr_pipeline.ops.geometry import crop_line
from ocr_pipeline.ops.golden import golden_pages
from tests.conftest import ExportedPair
from tests.serving.servers import free_port, png, ready

ENGINE = EngineConfig(variant="openvino-fp32")
"""Of the service and of the reader: they choose for themselves otherwise."""
EMPTY = {"text": "", "page_count": 1, "pages": [], "models": {}}
Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(scope="module")
def url(exported_tiny: ExportedPair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a running service that is ready."""
    folders = (f"detector={exported_tiny.det}", f"recognizer={exported_tiny.rec}")
    log = tmp_path_factory.mktemp("service") / "log"
    with ready(log, *folders, f"engine.variant={ENGINE.variant}") as server:
        yield str(server.client.base_url).rstrip("/")


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[OcrClient]:
    with OcrClient(url) as client:
        yield client


@pytest.fixture(scope="module")
def reader(exported_tiny: ExportedPair) -> OcrReader:
    return OcrReader.load(exported_tiny.det, exported_tiny.rec, ENGINE)


def plain(page: Page) -> dict[str, Any]:
    """A page as the reader's ``as_dict`` gives one, but for its times."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(page)))
    assert (values.pop("page"), values.pop("dpi"), values.pop("picture")) == (1, None, None)
    assert values.pop("milliseconds")["total"] > 0
    for line in values["lines"]:
        for name in ("words", "characters"):
            if line[name] is None:
                del line[name]
    return values


def expected(reader: OcrReader, image: BGRImage, *, words: bool = False) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(reader.read(image, words=words).as_dict()))
    del values["milliseconds"]
    return values


def answering(answer: Answer, **settings: Any) -> OcrClient:
    return OcrClient("http://service", transport=httpx.MockTransport(answer), **settings)


# Against the service.


def test_page_is_what_the_reader_reads(
    client: OcrClient, reader: OcrReader, tmp_path: Path
) -> None:
    page = golden_pages()[0]
    (tmp_path / "页.png").write_bytes(png(page))
    for file in (png(page), tmp_path / "页.png", str(tmp_path / "页.png")):
        document = client.read(file)
        assert [plain(one) for one in document.pages] == [expected(reader, page)]
        assert (document.text, document.page_count) == (document.pages[0].text, 1)
        assert set(document.models) == {"detector", "recognizer"}


def test_words_and_picture_come_where_asked_for(client: OcrClient, reader: OcrReader) -> None:
    page = golden_pages()[0]
    [worded] = client.read(png(page), words=True).pages
    assert plain(worded) == expected(reader, page, words=True)
    [pictured] = client.read(png(page), picture=True).pages
    assert pictured.picture is not None
    assert np.abs(decode_image(pictured.picture).astype(int) - page).mean() < 2


def test_many_files_come_page_by_page_in_order_and_a_bad_one_sinks_no_other(
    client: OcrClient, reader: OcrReader
) -> None:
    pages = golden_pages()
    files = [png(pages[0]), b"no picture", png(pages[1]), b"", png(pages[0])]
    results = [*client.read_many(iter(files), files_per_request=2)]
    assert [one.index for one in results] == [0, 1, 2, 3, 4]
    assert [one.page_count for one in results if isinstance(one.result, Page)] == [1, 1, 1]
    read = [plain(one.result) for one in results if isinstance(one.result, Page)]
    assert read == [expected(reader, page) for page in (pages[0], pages[1], pages[0])]
    errors = [one.result for one in results if isinstance(one.result, OcrServiceError)]
    assert [error.status for error in errors] == [415, 422]
    assert [*client.read_many([])] == []


@pytest.mark.parametrize("line_end", ["\x85", "\u2028", "\u2029"])
def test_a_file_may_have_a_line_end_in_its_name(
    client: OcrClient, tmp_path: Path, line_end: str
) -> None:
    path = tmp_path / f"a{line_end}b.png"
    path.write_bytes(png(golden_pages()[1]))
    results = [*client.read_many([path, b"no picture"])]
    assert [type(one.result) for one in results] == [Page, OcrServiceError]


def test_left_stream_leaves_the_client_usable(client: OcrClient) -> None:
    files = [png(golden_pages()[1])] * 4
    first = next(client.read_many(files))
    assert first.index == 0
    assert client.read(files[0]).page_count == 1


def test_cut_lines_are_read_in_order(client: OcrClient, reader: OcrReader) -> None:
    page = golden_pages()[0]
    crops = [crop_line(page, line.points) for line in reader.read(page).lines]
    read = client.recognize([*map(png, crops), b"no picture"])
    texts = reader.recognizer.recognize(crops)
    assert read[:-1] == [CutLine(t.text, round(t.confidence, 4), t.turned) for t in texts]
    assert isinstance(read[-1], OcrServiceError)
    assert read[-1].status == 415
    assert client.recognize([]) == []


def test_models_say_what_is_served(client: OcrClient) -> None:
    models = client.models()
    assert (models["detector"].task, models["recognizer"].task) == ("det", "rec")
    assert models["recognizer"].name == "ppocrv6_tiny_rec"
    assert len(models["recognizer"].checkpoint) == 64


def test_refusal_is_a_typed_error_with_the_service_s_words(client: OcrClient) -> None:
    with pytest.raises(OcrServiceError, match=r"^415 Not a picture: .*JPEG, PNG") as caught:
        client.read(b"GIF89a and so on")
    assert (caught.value.status, caught.value.title) == (415, "Not a picture")
    with pytest.raises(OcrServiceError, match=r"fetch\.allowed_hosts") as caught:
        client.read_url("http://example.org/page.png")
    assert caught.value.status == 422


# What is tried again.


def test_busy_service_is_asked_again_after_the_time_that_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("ocr_pipeline.client.time.sleep", pauses.append)
    headers: list[dict[str, str]] = [{"Retry-After": "7"}, {}, {"Retry-After": "900"}]
    statuses, bodies = [503, 429, 503], []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        if statuses:
            return httpx.Response(statuses.pop(0), headers=headers.pop(0), text="busy")
        return httpx.Response(200, json=EMPTY)

    assert answering(answer).read(b"page").text == ""
    assert pauses == [7.0, 1.0, 30.0]
    assert len(bodies) == 4
    assert all(b"page" in body for body in bodies)


def test_tries_end_and_the_last_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocr_pipeline.client.time.sleep", lambda _: None)
    tries = []

    def answer(request: httpx.Request) -> httpx.Response:
        tries.append(request)
        problem = {"type": "about:blank", "title": "Busy", "status": 503, "detail": "try later"}
        return httpx.Response(503, json=problem)

    with pytest.raises(OcrServiceError, match="503 Busy: try later"):
        answering(answer, retries=2).read(b"page")
    assert len(tries) == 3


def test_refused_file_is_not_sent_again() -> None:
    tries = []

    def answer(request: httpx.Request) -> httpx.Response:
        tries.append(request)
        return httpx.Response(500, json={"title": "Internal error", "detail": "see the log"})

    with pytest.raises(OcrServiceError, match="500 Internal error: see the log"):
        answering(answer).read(b"page")
    assert len(tries) == 1


def test_broken_connection_is_tried_again_and_silence_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ocr_pipeline.client.time.sleep", lambda _: None)
    faults: list[httpx.TransportError] = [httpx.ConnectError("no"), httpx.ReadError("reset")]

    def answer(request: httpx.Request) -> httpx.Response:
        if faults:
            raise faults.pop(0)
        return httpx.Response(200, json=EMPTY)

    assert answering(answer).read(b"page").page_count == 1
    faults[:] = [httpx.ReadTimeout("slow"), httpx.ReadTimeout("slow")]
    with pytest.raises(OcrConnectionError, match=r"http://service: ReadTimeout"):
        answering(answer).read(b"page")
    assert len(faults) == 1


def test_address_where_nobody_listens_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with (
        OcrClient(url, retries=1) as client,
        pytest.raises(OcrConnectionError, match=rf"{url}: ConnectError .* is this its address\?"),
    ):
        client.models()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://a", "http://a:port", ""])
def test_what_is_no_url_is_told(url: str) -> None:
    with pytest.raises(OcrConnectionError), OcrClient(url, retries=0) as client:
        client.models()


# Answers that are not the service's.


@pytest.mark.parametrize("body", ["<html>", "[]", "{}", "null", '{"pages": 3}', '{"text": 1}'])
def test_answer_of_another_server_is_told(body: str) -> None:
    with pytest.raises(OcrConnectionError, match="not the service's"):
        answering(lambda _: httpx.Response(200, text=body)).read(b"page")
    with pytest.raises(OcrConnectionError, match="not the service's"):
        [*answering(lambda _: httpx.Response(200, text=body)).read_many([b"page"])]


def test_error_of_a_proxy_without_a_problem_keeps_its_status() -> None:
    with pytest.raises(OcrServiceError, match="502 Bad Gateway: no reason was given"):
        answering(lambda _: httpx.Response(502, text="<html>")).read(b"page")


def page_line(index: int, page: int = 1, page_count: int = 1) -> bytes:
    values = {"page": page, "width": 1, "height": 1, "dpi": None, "text": "a", "lines": []}
    where = {"file": "", "index": index, "page_count": page_count}
    return json.dumps({**where, **values, "dropped": {}, "milliseconds": {}}).encode() + b"\n"


def error_line(index: int, page: int | None, **known: int) -> bytes:
    problem = {"type": "about:blank", "title": "Busy", "status": 503, "detail": "try later"}
    where = {"file": "", "index": index, "page": page, **known}
    return json.dumps({**where, "error": problem}).encode() + b"\n"


def test_stream_that_breaks_off_is_told_after_what_came() -> None:
    body = page_line(0)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                received = b""
                while not received.endswith(b"--\r\n"):
                    received += connection.recv(65_536)
                connection.sendall(head + f"{len(body):x}\r\n".encode() + body + b"\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        with OcrClient(f"http://127.0.0.1:{listening.getsockname()[1]}") as client:
            results = client.read_many([b"one", b"two"])
            first = next(results)
            with pytest.raises(OcrConnectionError, match="RemoteProtocolError"):
                next(results)
        thread.join()
    assert isinstance(first.result, Page)
    assert first.result.text == "a"


@pytest.mark.parametrize(
    ("lines", "index"),
    [
        ([page_line(0)], 1),
        ([page_line(0), page_line(1, page_count=3)], 1),
        ([error_line(0, None), error_line(1, 1), page_line(1, 2, 3)], 1),
        ([error_line(0, 1, page_count=2)], 0),
        ([], 0),
    ],
)
def test_stream_that_ends_well_before_its_last_page_is_told_after_what_came(
    lines: list[bytes], index: int
) -> None:
    client = answering(lambda _: httpx.Response(200, content=b"".join(lines)))
    results = client.read_many([b"one", b"two"])
    assert len([next(results) for _ in lines]) == len(lines)
    with pytest.raises(OcrConnectionError, match=f"ended within file {index} .*was it cut off"):
        next(results)


def test_stream_is_whole_where_pages_or_files_have_errors() -> None:
    body = error_line(0, None) + page_line(1, 1, 2) + error_line(1, 2) + error_line(2, 1)
    parts = [body[at : at + 100] for at in range(0, len(body), 100)]
    client = answering(lambda _: httpx.Response(200, content=iter(parts)))
    results = [*client.read_many([b"one", b"two", b"three"])]
    assert [one.index for one in results] == [0, 1, 1, 2]


# The rest.


def test_key_and_options_are_sent() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=EMPTY)

    with answering(answer, key="secret") as client:
        assert client.read(b"page", words=True, pages="1-3,7") == Document("", 1, (), {})
        client.read_url("https://files.example.org/a.pdf", picture=True)
    assert [request.headers["authorization"] for request in asked] == ["Bearer secret"] * 2
    assert dict(asked[0].url.params) == {"words": "true", "pages": "1-3,7"}
    assert dict(asked[1].url.params) == {"picture": "true"}
    assert json.loads(asked[1].read()) == {"url": "https://files.example.org/a.pdf"}


def test_waiting_ends_when_it_is_ready_when_it_has_failed_and_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ocr_pipeline.client._POLL_S", 0.0)
    states = [
        httpx.ConnectError("not yet"),
        httpx.Response(503, json={"status": "loading", "detail": ""}),
        httpx.Response(502, text="<html>"),
        httpx.Response(200, json={"status": "ready", "detail": ""}),
        httpx.Response(503, json={"status": "failed", "detail": "charset.txt is missing"}),
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        state = states.pop(0)
        if isinstance(state, Exception):
            raise state
        return state

    client = answering(answer)
    client.wait_until_ready()
    assert len(states) == 1
    with pytest.raises(OcrServiceError, match=r"charset\.txt is missing"):
        client.wait_until_ready()
    loading = {"status": "loading", "detail": ""}
    with pytest.raises(OcrConnectionError, match=r"not ready within 0\.05 s \(loading\)"):
        answering(lambda _: httpx.Response(503, json=loading)).wait_until_ready(0.05)


def test_import_needs_no_library_but_httpx() -> None:
    code = (
        "import sys, ocr_pipeline.client; "
        "print({'numpy', 'cv2', 'paddle', 'PIL', 'pydantic', 'fastapi'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
