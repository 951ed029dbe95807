"""Many clients at once: each answer is the one of its picture, and the service recovers."""

import json
import re
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from ocr_pipeline.ops.golden import golden_pages
from tests.conftest import ExportedPair
from tests.serving.servers import START_S, Server, form_of, head_of, png, ready, started

CLIENTS, CONNECTIONS = 32, 2000


def pictures() -> list[bytes]:
    """Sixteen pages, each with another text or another layout of it."""
    one, two = golden_pages()
    pages = [one[top : top + 160] for top in range(0, 161, 32)]
    pages += [two[:, :width] for width in range(240, 481, 40)]
    pages += [cv2.rotate(one, cv2.ROTATE_180), np.vstack([two, two]), np.hstack([two, two])]
    return [png(np.ascontiguousarray(page)) for page in pages]


@pytest.fixture(scope="module")
def server(
    exported_tiny: ExportedPair, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("faults") / "serve.log"
    words = (f"detector={exported_tiny.det}", f"recognizer={exported_tiny.rec}")
    with ready(log, *words, "max_waiting=32") as running:
        yield running


def without_times(answer: httpx.Response) -> bytes:
    """The body of an answer byte for byte, except for the milliseconds."""
    assert answer.status_code == 200, answer.text
    values: dict[str, Any] = answer.json()
    for page in values["pages"]:
        assert page.pop("milliseconds")
    return json.dumps(values, ensure_ascii=False).encode()


@pytest.fixture(scope="module")
def alone(server: Server) -> list[bytes]:
    """The answer for each picture, while nobody else asks."""
    answers = [without_times(server.post(content)) for content in pictures()]
    assert len(set(answers)) == len(answers) >= 12
    return answers


def test_the_answer_is_the_same_with_one_and_with_32_clients(
    server: Server, alone: list[bytes]
) -> None:
    contents = pictures()
    numbers = [n % len(contents) for n in range(4 * CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(lambda n: without_times(server.post(contents[n])), numbers))
    assert answers == [alone[n] for n in numbers]


def test_64_clients_get_their_own_answer_or_are_told_to_come_back(
    server: Server, alone: list[bytes]
) -> None:
    contents = pictures()
    numbers = [n % len(contents) for n in range(256)]
    with ThreadPoolExecutor(64) as clients:
        answers = list(clients.map(lambda n: server.post(contents[n]), numbers))
    assert {answer.status_code for answer in answers} <= {200, 503}
    read = [(n, answer) for n, answer in zip(numbers, answers, strict=True) if answer.is_success]
    assert len(read) >= CLIENTS
    assert all(without_times(answer) == alone[n] for n, answer in read)
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 503)


def test_each_test_that_the_table_of_faults_names_exists(root: Path) -> None:
    page = (root / "docs/reliability.md").read_text("utf-8")
    rows = [row for row in page.splitlines() if row.startswith("| ") and "test_" in row]
    named = [pair for row in rows for pair in re.findall(r"`(test_\w+\.py)`(?:: `(\w+)`)?", row)]
    assert len(named) >= len(rows) - 1  # one says "the same"
    for file, words in named:
        text = (root / "tests/serving" / file).read_text("utf-8")
        assert re.search(rf"^(async )?def test_\w*{words}", text, re.MULTILINE), (file, words)


@contextmanager
def open_files(most: int) -> Iterator[None]:
    """Let this process have so many open files, and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < most:
        pytest.skip(f"this system allows {hard} open files; {most} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("most", [512, 4096])
def test_two_thousand_connections_mix_up_nothing_and_leave_a_service_that_reads(
    exported_tiny: ExportedPair, tmp_path: Path, alone: list[bytes], most: int
) -> None:
    """With room for all of them, readers are read; with less, most are told so and closed."""
    contents = pictures()
    form = form_of(contents[0])
    words = (f"detector={exported_tiny.det}", f"recognizer={exported_tiny.rec}")
    halves = (b"", b"POST /v1/ocr HT", head_of(f"Content-Length: {len(form)}") + form[:500])
    with (
        open_files(2 * CONNECTIONS + 500),
        started(
            tmp_path / "serve.log",
            *words,
            f"patience.max_connections={most}",
            "patience.head_timeout_s=120",
            "patience.body_timeout_s=120",
        ) as server,
        ExitStack() as stack,
    ):
        server.wait(lambda: server.status("/readyz") == 200, START_S)
        for number in range(CONNECTIONS):
            connection = stack.enter_context(server.connect())
            send_if_taken(connection, halves[number % 3])
        numbers = [n % len(contents) for n in range(CLIENTS)]
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda n: read_on_its_own(server, contents[n]), numbers))
        statuses = {answer.status_code for answer in answers}
        assert statuses == ({200} if most > CONNECTIONS else {503})
        for n, answer in zip(numbers, answers, strict=True):
            assert answer.status_code == 503 or without_times(answer) == alone[n]
        stack.close()
        server.wait(lambda: read_on_its_own(server, contents[1]).status_code == 200)
        assert without_times(server.post(contents[2])) == alone[2]
        assert server.process.poll() is None
        assert "Traceback" not in server.log()


def send_if_taken(connection: socket.socket, sent: bytes) -> None:
    """One connection too many is closed by the service, perhaps before this is sent."""
    try:
        connection.sendall(sent)
    except (BrokenPipeError, ConnectionResetError):
        return


def read_on_its_own(server: Server, content: bytes) -> httpx.Response:
    """Ask on a connection of its own; one that was refused before its end counts as 503."""
    try:
        files = {"file": ("page", content)}
        return httpx.post(f"{server.client.base_url}/v1/ocr", files=files, timeout=60)
    except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
        return httpx.Response(503)
