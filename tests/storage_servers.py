"""Servers for the tests of storage: WebHDFS, HTTP with ranges, and a proxy that fails on demand.

Each listens on a free port of 127.0.0.1 and answers in threads of its own.
"""

import http.client
import json
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the tests."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serve in a thread; gives the port."""
    server = _Server(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# --- Faults -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer.

    Attributes:
        kind: cut: the connection is closed after ``after`` bytes of the body. reset: the same by
            RST. short: the answer ends after ``after`` bytes and says that this is all. status:
            ``status`` is answered. hang: nothing is answered.
        when: only for a request line or range that holds this.
    """

    kind: Literal["cut", "reset", "short", "status", "hang"]
    after: int = 0
    status: int = 500
    when: str = ""


@dataclass
class Proxy:
    """Passes requests on to a server and answers as ``faults`` say, each once.

    Attributes:
        port: where it listens.
        faults: still to come; the first that fits a request is taken out and done.
        requests: method, path and range of each request.
    """

    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    closing: Event = field(default_factory=Event)

    def next_fault(self, request: str) -> Fault | None:
        self.requests.append(request)
        for fault in self.faults:
            if fault.when in request:
                self.faults.remove(fault)
                return fault
        return None


class _ProxyHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: Proxy
    target: int

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        span = self.headers.get("Range", "")
        fault = self.proxy.next_fault(f"{self.command} {self.path} {span}".strip())
        if fault is None:
            status, headers, content = self._asked(body)
            self._answer(status, headers, content, len(content))
        elif fault.kind == "hang":
            self.proxy.closing.wait(20)
            self.close_connection = True
        elif fault.kind == "status":
            self._answer(fault.status, [], b"", 0)
        else:
            self._break_off(fault, *self._asked(body))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def _asked(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        return _asked(self.target, self.command, self.path, dict(self.headers), body)

    def _break_off(
        self, fault: Fault, status: int, headers: Sequence[tuple[str, str]], content: bytes
    ) -> None:
        shown = fault.after if fault.kind == "short" else len(content)
        self._answer(status, headers, content[: fault.after], shown)
        self.close_connection = True
        if fault.kind == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def _answer(
        self, status: int, headers: Sequence[tuple[str, str]], content: bytes, length: int
    ) -> None:
        self.send_response_only(status)
        for key, value in headers:
            self.send_header(key, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
            self.wfile.flush()

    def log_message(self, *args: object) -> None: ...


@contextmanager
def faulty_proxy(target: int) -> Iterator[Proxy]:
    """A proxy before the server of a port."""
    proxy = Proxy()
    handler = type("Handler", (_ProxyHandler,), {"proxy": proxy, "target": target})
    with serving(handler) as proxy.port:
        try:
            yield proxy
        finally:
            proxy.closing.set()


def _asked(
    port: int, method: str, path: str, headers: dict[str, str], body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of a server's answer; HEAD keeps the length it states."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        sent = {k: v for k, v in headers.items() if k.lower() not in ("expect", "content-length")}
        connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        content = answer.read()
        dropped = {"connection", "transfer-encoding", "date", "server"}
        dropped |= {"content-length"} if method != "HEAD" else set()
        kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in dropped]
        return answer.status, kept, content
    finally:
        connection.close()


# --- HTTP -------------------------------------------------------------------------------------


@contextmanager
def http_server(folder: Path, *, ranges: bool = True) -> Iterator[int]:
    """Files of a folder with listings, as ``python -m http.server`` has them; gives the port."""

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))

        def do_GET(self) -> None:
            path = Path(self.translate_path(self.path))
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if not ranges or wanted is None or not path.is_file():
                super().do_GET()
                return
            content = path.read_bytes()
            end = len(content) - 1
            first, last = int(wanted[1]), min(int(wanted[2] or end), end)
            found = content[first : last + 1]
            self.send_response_only(206 if found else 416)
            span = f"{first}-{last}" if found else "*"
            self.send_header("Content-Range", f"bytes {span}/{len(content)}")
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        def log_message(self, *args: object) -> None: ...

    with serving(Handler) as port:
        yield port


# --- WebHDFS ----------------------------------------------------------------------------------

STRANGER = "stranger"
"""A user who may read nothing."""


@dataclass
class WebHdfs:
    """A namenode and a datanode over a folder, both behind proxies."""

    namenode: Proxy
    datanode: Proxy


@contextmanager
def webhdfs_server(folder: Path) -> Iterator[WebHdfs]:
    """WebHDFS as Hadoop 2.7.3 was seen to speak it: its statuses, errors and redirects."""
    with ExitStack() as stack:
        data = stack.enter_context(serving(type("Data", (_DataHandler,), {"folder": folder})))
        datanode = stack.enter_context(faulty_proxy(data))
        known = {"folder": folder, "datanode": datanode}
        names = stack.enter_context(serving(type("Names", (_NameHandler,), known)))
        yield WebHdfs(stack.enter_context(faulty_proxy(names)), datanode)


class _HdfsHandler(BaseHTTPRequestHandler):
    """What both kinds of node have in common."""

    folder: Path
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def asked(self) -> tuple[str, dict[str, str]]:
        """Path below ``/webhdfs/v1``, and the query."""
        parts = urlsplit(self.path)
        return unquote(parts.path.removeprefix("/webhdfs/v1")), dict(parse_qsl(parts.query))

    def answer_json(self, content: object, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, exception: str, message: str) -> None:
        name = f"java.io.{exception}"
        said = {"exception": exception, "javaClassName": name, "message": message}
        self.answer_json({"RemoteException": said}, status)

    def log_message(self, *args: object) -> None: ...


def _status(path: Path, suffix: str) -> dict[str, object]:
    found = path.stat()
    return {
        "length": found.st_size if path.is_file() else 0,
        "modificationTime": int(found.st_mtime * 1000),
        "owner": "ann",
        "pathSuffix": suffix,
        "permission": "755",
        "type": "FILE" if path.is_file() else "DIRECTORY",
    }


class _NameHandler(_HdfsHandler):
    """The namenode: knows of files, and sends readers and writers on to the datanode."""

    datanode: Proxy

    def do_GET(self) -> None:
        name, query = self.asked()
        path = self.folder / name.lstrip("/")
        if query.get("user.name") == STRANGER:
            text = f"Permission denied: user={STRANGER}, access=READ, inode={name!r}"
            self.refuse(403, "AccessControlException", text)
        elif query["op"] == "OPEN" and not path.exists():
            self.refuse(404, "FileNotFoundException", f"File {name} not found.")
        elif not path.exists():
            self.refuse(404, "FileNotFoundException", f"File does not exist: {name}")
        elif query["op"] == "GETFILESTATUS":
            self.answer_json({"FileStatus": _status(path, "")})
        elif query["op"] == "LISTSTATUS":
            self.answer_json({"FileStatuses": {"FileStatus": self._listed(path)}})
        elif query["op"] == "OPEN":
            self._open(path, name, int(query.get("offset", 0)))
        else:
            text = f'Invalid value for webhdfs parameter "op": {query["op"]}'
            self.refuse(400, "IllegalArgumentException", text)

    def do_PUT(self) -> None:
        self._send_on()

    def _listed(self, path: Path) -> list[dict[str, object]]:
        if path.is_file():
            return [_status(path, "")]
        return [_status(entry, entry.name) for entry in sorted(path.iterdir())]

    def _open(self, path: Path, name: str, offset: int) -> None:
        length = path.stat().st_size
        if offset >= length > 0:
            text = f"Offset={offset} out of the range [0, {length}); OPEN, path={name}"
            self.refuse(403, "IOException", text)
        else:
            self._send_on()

    def _send_on(self) -> None:
        name, query = self.asked()
        rest = "&".join(f"{key}={quote(value)}" for key, value in query.items())
        place = f"http://127.0.0.1:{self.datanode.port}/webhdfs/v1{quote(name)}?{rest}"
        self.send_response_only(307)
        self.send_header("Location", place)
        self.send_header("Content-Length", "0")
        self.end_headers()


class _DataHandler(_HdfsHandler):
    """The datanode: sends and takes the bytes."""

    def do_GET(self) -> None:
        name, query = self.asked()
        path = self.folder / name.lstrip("/")
        if not path.is_file():
            text = f"Path is not a file: {name}\n\tat org.apache.hadoop.hdfs.server (stack)"
            self.refuse(404, "FileNotFoundException", text)
            return
        content = path.read_bytes()[int(query.get("offset", 0)) :]
        content = content[: int(query.get("length", len(content)))]
        self.send_response_only(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def do_PUT(self) -> None:
        path = self.folder / self.asked()[0].lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response_only(201)
        self.send_header("Content-Length", "0")
        self.end_headers()
