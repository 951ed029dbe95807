"""The HTTP service as it is run: a process, talked to over a socket, stopped by a signal."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from ocr_pipeline.artifacts.exported import CARD_NAME
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.ops.golden import golden_pages
from tests.conftest import ExportedPair
from tests.processes import lives
from tests.serving.servers import (
    DEADLINE_S,
    START_S,
    Server,
    form_of,
    head_of,
    needs_proc,
    png,
    ready,
    started,
    worker_of,
)

ROOT = Path(__file__).parents[2]
MAX_BYTES = 2_000_000


@pytest.fixture(scope="module")
def server(
    exported_tiny: ExportedPair, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A service that is ready; no test stops it."""
    log = tmp_path_factory.mktemp("server") / "serve.log"
    folders = (f"detector={exported_tiny.det}", f"recognizer={exported_tiny.rec}")
    limits = (f"limits.max_bytes={MAX_BYTES}", f"documents.pdf_max_bytes={MAX_BYTES}")
    with ready(log, *folders, *limits) as running:
        yield running


@pytest.fixture(scope="module")
def texts(exported_tiny: ExportedPair) -> list[str]:
    """What the two golden pages say, read from their pixels without a service."""
    reader = OcrReader.load(exported_tiny.det, exported_tiny.rec)
    return [reader.read(page).text for page in golden_pages()]


def huge_png(side: int) -> bytes:
    """A whole, valid, all-black PNG with ``side * side`` px of one bit."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side * (side // 8 + 1)), level=1)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def answer_on(connection: socket.socket) -> httpx.Response:
    """Read the one answer that comes on a connection."""
    response = http.client.HTTPResponse(connection, method="POST")
    response.begin()
    return httpx.Response(response.status, headers=response.getheaders(), content=response.read())


def assert_problem(answer: httpx.Response, status: int, *said: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    for words in said:
        assert words in answer.json()["detail"]


def test_page_sent_over_a_socket_is_read_as_by_the_reader_itself(
    server: Server, texts: list[str]
) -> None:
    answer = server.post(png(golden_pages()[0]))
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"] == texts[0]


def test_sixteen_requests_at_once_each_get_their_own_text(server: Server, texts: list[str]) -> None:
    contents = [png(page) for page in golden_pages()]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: server.post(contents[number % 2]), range(16)))
    assert [answer.status_code for answer in answers] == [200] * 16
    assert [answer.json()["text"] for answer in answers] == texts * 8
    assert texts[0] != texts[1]


def test_chunked_upload_is_refused_with_413_before_its_end(server: Server) -> None:
    body = form_of(bytes(MAX_BYTES + 100_000))
    with server.connect() as connection:
        connection.sendall(head_of("Transfer-Encoding: chunked"))
        for start in range(0, len(body), 50_000):
            part = body[start : start + 50_000]
            connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
        # The last, empty chunk is never sent: a service that waits for it does not answer.
        answer = answer_on(connection)
    assert_problem(answer, 413, "or more", f"files of {MAX_BYTES:,} bytes")


def test_announced_gigabyte_is_refused_with_413_before_any_of_it_is_sent(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(head_of("Content-Length: 1073741824"))
        answer = answer_on(connection)
    assert_problem(answer, 413, "1,073,741,824 bytes", f"files of {MAX_BYTES:,} bytes")


def memory_mb(pid: int, row: str) -> float:
    """A row of /proc/PID/status: VmRSS is what is in use, VmHWM the most that ever was."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(rf"^{row}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1]) / 1024


@needs_proc
def test_picture_of_400_million_pixels_is_refused_and_never_unpacked(
    server: Server,
) -> None:
    content = huge_png(20_000)
    pids = (server.process.pid, worker_of(server))
    for pid in pids:  # 5 sets the high-water mark back to what is in use
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    before = [memory_mb(pid, "VmRSS") for pid in pids]
    answer = server.post(content)
    assert_problem(answer, 413, "too large", "400000000 pixels")
    for pid, held in zip(pids, before, strict=True):
        assert memory_mb(pid, "VmHWM") - held < 50


@needs_proc
def test_killed_and_frozen_processes_under_load_lose_and_mix_up_nothing(
    exported_tiny: ExportedPair, texts: list[str], tmp_path: Path
) -> None:
    contents = [png(page) for page in golden_pages()]
    words = (f"detector={exported_tiny.det}", f"recognizer={exported_tiny.rec}", "silence_s=3")
    with started(tmp_path / "serve.log", *words) as server, ThreadPoolExecutor(8) as pool:
        server.wait(lambda: server.status("/readyz") == 200, START_S)
        for number in (signal.SIGKILL, signal.SIGSTOP):
            sent = [pool.submit(server.post, contents[n % 2]) for n in range(24)]
            server.wait(lambda sent=sent: sum(job.done() for job in sent) >= 4)
            os.kill(worker_of(server), number)
            answers = [job.result() for job in sent]
            assert [answer.status_code for answer in answers] == [200] * 24
            assert [answer.json()["text"] for answer in answers] == texts * 12
        assert server.status("/livez") == 200
    assert server.log().count("tasks are done again") == 2
    assert "was ended by SIGKILL" in server.log()
    assert "has given no sign of life for 3 s; it is killed" in server.log()
    assert "Traceback" not in server.log()


@needs_proc
def test_a_killed_service_leaves_no_process_behind(
    exported_tiny: ExportedPair, tmp_path: Path
) -> None:
    folders = (f"detector={exported_tiny.det}", f"recognizer={exported_tiny.rec}")
    with started(tmp_path / "serve.log", *folders) as server:
        server.wait(lambda: server.status("/readyz") == 200, START_S)
        worker = worker_of(server)
        server.process.kill()
        server.wait(lambda: not lives(worker))


def test_clients_that_go_away_leave_a_service_that_reads_on(
    server: Server, texts: list[str]
) -> None:
    form = form_of(png(golden_pages()[0]))
    # More than may wait: were their places not given back, nothing more would be read.
    for sent in (form, form[: len(form) // 2]):
        for _ in range(20):
            with server.connect() as connection:
                connection.sendall(head_of(f"Content-Length: {len(form)}") + sent)
    answers: list[httpx.Response] = []

    def is_read() -> bool:
        answers.append(server.post(png(golden_pages()[1])))
        return answers[-1].status_code != 503

    server.wait(is_read)
    assert answers[-1].json()["text"] == texts[1]
    assert "Traceback" not in server.log()


def ended_cleanly(server: Server) -> None:
    code = server.process.wait(timeout=DEADLINE_S)
    # uvicorn ends in order and then lets the signal have its usual effect.
    assert code in (0, -signal.SIGTERM), server.log()
    assert "Application shutdown complete" in server.log()
    assert "Traceback" not in server.log()


def test_sigterm_ends_the_process_after_the_request_in_flight_is_answered(
    exported_tiny: ExportedPair, texts: list[str], tmp_path: Path
) -> None:
    form = form_of(png(golden_pages()[0]))
    folders = (f"detector={exported_tiny.det}", f"recognizer={exported_tiny.rec}")
    with started(tmp_path / "serve.log", *folders) as server, server.connect() as connection:
        server.wait(lambda: server.status("/readyz") == 200, START_S)
        length = f"Content-Length: {len(form)}"
        connection.sendall(head_of(length, "Expect: 100-continue"))
        # Sent when the application asks for the body: from here on it is in flight.
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        server.process.send_signal(signal.SIGTERM)
        server.wait(lambda: "Shutting down" in server.log())
        connection.sendall(form)
        answer = answer_on(connection)
        ended_cleanly(server)
        assert server.status("/livez") is None
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"] == texts[0]


def test_model_that_cannot_be_loaded_is_told_in_the_terminal_and_the_process_lives_on(
    exported_tiny: ExportedPair, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(exported_tiny.rec, tmp_path / "rec"))
    (folder / "charset.txt").unlink()
    folders = (f"detector={exported_tiny.det}", f"recognizer={folder}")
    with started(tmp_path / "serve.log", *folders) as server:
        server.wait(lambda: "models not loaded" in server.log())
        ready = server.client.get("/readyz")
        assert server.process.poll() is None
    assert (ready.status_code, ready.json()["status"]) == (503, "failed")
    assert f"{folder}: is missing 1 of" in server.log()
    assert "charset.txt" in server.log()
    assert "Traceback" not in server.log()


def test_an_upload_that_never_ends_does_not_keep_the_process_alive(
    exported_tiny: ExportedPair, tmp_path: Path
) -> None:
    folders = (f"detector={exported_tiny.det}", f"recognizer={exported_tiny.rec}", "timeout_s=0.5")
    with started(tmp_path / "serve.log", *folders) as server, server.connect() as connection:
        server.wait(lambda: server.status("/readyz") == 200, START_S)
        connection.sendall(head_of("Content-Length: 1000", "Expect: 100-continue"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=DEADLINE_S) is not None


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP on this system")
def test_models_are_changed_under_load_and_a_broken_one_is_not_taken(
    exported_tiny: ExportedPair, texts: list[str], tmp_path: Path
) -> None:
    mine, broken = (Path(shutil.copytree(exported_tiny.rec, tmp_path / n)) for n in ("m", "b"))
    card = json.loads((mine / CARD_NAME).read_text(encoding="utf-8"))
    (mine / CARD_NAME).write_text(json.dumps({**card, "name": "mine"}), encoding="utf-8")
    (broken / "paddle/inference.pdiparams").write_bytes(b"nothing")
    config = tmp_path / "serve.yaml"

    def name(recognizer: Path, max_waiting: int = 64) -> None:
        config.write_text(
            f"detector: {exported_tiny.det}\nrecognizer: {recognizer}\n"
            f"max_waiting: {max_waiting}\n",
            encoding="utf-8",
        )

    name(exported_tiny.rec)
    contents = [png(page) for page in golden_pages()]
    with (
        started(tmp_path / "serve.log", "--config", str(config)) as server,
        ThreadPoolExecutor(4) as clients,
    ):
        server.wait(lambda: server.status("/readyz") == 200, START_S)
        over = threading.Event()

        def read_on(number: int) -> list[httpx.Response]:
            answers = []
            while not over.is_set():
                answers.append(server.post(contents[number % 2]))
            return answers

        reading = [clients.submit(read_on, number) for number in range(4)]
        try:
            name(mine, max_waiting=65)
            server.process.send_signal(signal.SIGHUP)
            server.wait(lambda: "models reloaded: " in server.log(), START_S)
            after = server.post(contents[0])
            name(broken)
            server.process.send_signal(signal.SIGHUP)
            server.wait(lambda: "models not reloaded" in server.log(), START_S)
            last = server.post(contents[0])
        finally:
            over.set()
        answers = [(n, answer) for n, job in enumerate(reading) for answer in job.result()]
        assert server.status("/readyz") == 200
    assert {answer.status_code for _, answer in answers} == {200}
    assert all(answer.json()["text"] == texts[n % 2] for n, answer in answers)
    used = {answer.json()["models"]["recognizer"].split()[0] for _, answer in answers}
    assert used == {"ppocrv6_tiny_rec", "mine"}
    for answer in (after, last):
        assert answer.json()["models"]["recognizer"].startswith("mine (")
    assert "settings that need a restart are as before: max_waiting" in server.log()
    assert f"{broken}: " in server.log()
    assert "Traceback" not in server.log()
