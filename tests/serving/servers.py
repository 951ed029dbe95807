"""The service as it is run, for tests: a process, talked to over a socket."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import httpx
import pytest

from ocr_pipeline.ops.decode import BGRImage
from tests.processes import children

ROOT = Path(__file__).parents[2]
START_S, DEADLINE_S = 60, 20
BOUNDARY = b"----page"
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc"
)


class Server:
    """A running ``scripts/serve.py``."""

    def __init__(self, process: "subprocess.Popen[bytes]", client: httpx.Client, log: Path) -> None:
        self.process = process
        self.client = client
        self._log = log

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def post(self, content: bytes) -> httpx.Response:
        return self.client.post("/v1/ocr", files={"file": ("page", content)})

    def connect(self) -> socket.socket:
        address = (self.client.base_url.host, self.client.base_url.port)
        return socket.create_connection(address, timeout=DEADLINE_S)

    def status(self, path: str) -> int | None:
        """Status code of a GET; None while nothing listens."""
        try:
            return self.client.get(path).status_code
        except httpx.ConnectError:
            return None

    def wait(self, done: Callable[[], bool], limit_s: float = DEADLINE_S) -> None:
        """Poll until ``done``; fails at the limit."""
        deadline = time.monotonic() + limit_s
        while not done():
            assert time.monotonic() < deadline, f"not within {limit_s} s; log:\n{self.log()}"
            time.sleep(0.05)


@contextmanager
def started(log: Path, *overrides: str) -> Iterator[Server]:
    """Start the service and wait until it listens; killed at the end if it still runs."""
    port = free_port()
    command = [sys.executable, str(ROOT / "scripts/serve.py"), f"port={port}", *overrides]
    with (
        log.open("wb") as output,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S) as client,
        subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        server = Server(process, client, log)
        try:
            server.wait(
                lambda: process.poll() is not None or server.status("/livez") == 200, START_S
            )
            assert process.poll() is None, f"the service ended at once:\n{server.log()}"
            yield server
        finally:
            process.kill()


def png(image: BGRImage) -> bytes:
    done, content = cv2.imencode(".png", image)
    assert done
    return content.tobytes()


def worker_of(server: Server) -> int:
    """Of the process that reads."""
    pids = children(server.process.pid)
    [worker] = [p for p in pids if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]
    return worker


@contextmanager
def ready(log: Path, *overrides: str) -> Iterator[Server]:
    """A started service whose models are loaded."""
    with started(log, *overrides) as running:
        running.wait(lambda: running.status("/readyz") == 200, START_S)
        yield running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def form_of(content: bytes) -> bytes:
    return (
        b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="file"; filename="page"\r\n'
        b"\r\n" + content + b"\r\n--" + BOUNDARY + b"--\r\n"
    )


def head_of(*headers: str) -> bytes:
    lines = [
        "POST /v1/ocr HTTP/1.1",
        "Host: service",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()
