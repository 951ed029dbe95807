"""Files fetched from URLs: from real servers on this machine, with names that only tests know."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from ocr_pipeline.config.serve import FetchConfig, ServeConfig
from ocr_pipeline.serving.fetch import Fetcher, FetchError, Resolve
from tests.serving.entries import entry_in, obedient
from tests.serving.in_process import served

HOST = "files.example.org"
CONTENT = b"a picture"
MAX_BYTES = 10_000
LOOPBACK = ip_network("127.0.0.0/8")
Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def whole(content: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


def saying(*answers: bytes) -> Answer:
    """One answer after another, the last one for ever."""
    left = list(answers)

    async def answer(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return answer


class Server:
    """A server on this machine.

    Attributes:
        port: where it listens.
        requests: heads of what it was asked.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[str] = []


@asynccontextmanager
async def serving(
    answer: Answer, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            server.requests.append(head.decode())
            await answer(head, writer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(handle, address, port, ssl=tls)
    server = Server(listening.sockets[0].getsockname()[1])
    async with listening:
        yield server


def resolving(*answers: Sequence[str]) -> tuple[Resolve, list[str]]:
    """A name service that gives one answer after another, and the names it was asked for."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    return resolve, asked


def here() -> Resolve:
    return resolving(["127.0.0.1"])[0]


def allowing(*hosts: str, **settings: object) -> FetchConfig:
    values = {"allowed_hosts": hosts, "allowed_networks": [LOOPBACK], "timeout_s": 20, **settings}
    return FetchConfig.model_validate(values)


async def fetched(server: Server, path: str = "/a.png", **settings: object) -> bytes:
    config = allowing(f"{HOST}:{server.port}", **settings)
    return await Fetcher(config, MAX_BYTES, here()).fetch(f"http://{HOST}:{server.port}{path}")


def refusal_of(fetching: Awaitable[bytes]) -> FetchError:
    async def run() -> FetchError:
        with pytest.raises(FetchError) as caught:
            await fetching
        return caught.value

    return asyncio.run(run())


def refusal_by(answer: Answer, **settings: object) -> FetchError:
    async def run() -> bytes:
        async with serving(answer) as server:
            return await fetched(server, **settings)

    return refusal_of(run())


# What is fetched, and how it is asked for.


def test_file_is_fetched_from_the_resolved_address_under_its_own_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there

    async def run() -> tuple[bytes, Server]:
        async with serving(saying(whole(CONTENT))) as server:
            return await fetched(server, "/a%20b.png?v=1#part"), server

    content, server = asyncio.run(run())
    assert content == CONTENT
    [head] = server.requests
    first, *headers = head.rstrip().splitlines()
    assert first == "GET /a%20b.png?v=1 HTTP/1.1"
    assert dict(line.lower().split(": ") for line in headers) == {
        "host": f"{HOST}:{server.port}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": "ocr_pipeline",
    }


def test_body_without_a_length_is_read_to_its_end() -> None:
    async def run() -> bytes:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        async with serving(saying(head + b"2\r\na \r\n7\r\npicture\r\n0\r\n\r\n")) as server:
            return await fetched(server)

    assert asyncio.run(run()) == CONTENT


def test_next_address_is_tried_where_nobody_listens_at_the_first() -> None:
    async def run() -> bytes:
        resolve, _ = resolving(["127.0.0.2", "127.0.0.1"])
        async with serving(saying(whole(CONTENT))) as server:
            config = allowing(f"{HOST}:{server.port}")
            return await Fetcher(config, MAX_BYTES, resolve).fetch(f"http://{HOST}:{server.port}")

    assert asyncio.run(run()) == CONTENT


# Hosts and addresses.


def test_nothing_is_fetched_until_a_host_is_allowed() -> None:
    resolve, asked = resolving(["127.0.0.1"])
    error = refusal_of(Fetcher(FetchConfig(), MAX_BYTES, resolve).fetch(f"http://{HOST}/"))
    assert error.status == 422
    assert "fetch.allowed_hosts" in str(error)
    assert asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",  # *.files.example.org is what is below it
        "http://files.example.org.evil.net/",
        "http://evilfiles.example.org/",
        "http://notsub.files.example.com/",
        "http://exact.org:8080/",
        "https://exact.org:80/",
        "http://exact.org@127.0.0.1/",
        "http://user:word@exact.org/",
        "http://127.0.0.1/",
        "http://0x7f000001/",
        "http://[::1]/",
        "file:///etc/passwd",
        "ftp://exact.org/",
        "gopher://exact.org/",
        "http:///a.png",
        "exact.org/a.png",
        "http://exact.org:99999999/",
        "http://exa mple.org\r\nX: y/",
        "http://" + 70_000 * "a",
    ],
)
def test_url_outside_the_list_is_refused_before_its_name_is_looked_up(url: str) -> None:
    resolve, asked = resolving(["127.0.0.1"])
    config = allowing("exact.org", "*.files.example.org", "special.org:8080")
    error = refusal_of(Fetcher(config, MAX_BYTES, resolve).fetch(url))
    assert error.status == 422
    assert len(str(error)) < 500
    assert asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://exact.org/",
        "http://EXACT.org./",
        "https://exact.org/",
        "https://exact.org:443/",
        "http://a.files.example.org/",
        "http://a.b.files.example.org/",
        "http://special.org:8080/",
        "https://special.org:8080/",
        "http://[2001:db8::1]:81/",
        "http://xn--bcher-kva.org/",
        "http://bücher.org/",
    ],
)
def test_host_of_the_list_is_looked_up(url: str) -> None:
    resolve, asked = resolving(["10.0.0.1"])
    config = allowing(
        "exact.org",
        "*.files.example.org",
        "special.org:8080",
        "[2001:db8::1]:81",
        "xn--bcher-kva.org",
    )
    error = refusal_of(Fetcher(config, MAX_BYTES, resolve).fetch(url))
    assert "not public" in str(error)
    assert len(asked) == 1


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104
        "192.0.0.8",
        "192.88.99.1",
        "198.18.0.1",
        "203.0.113.5",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "fc00::1",
        "fe80::1",
        "fe80::1%lo",
        "fec0::1",
        "ff02::1",
    ],
)
@pytest.mark.parametrize("others", [[], ["8.8.8.8"]])
def test_address_that_is_not_public_is_refused_and_not_told(
    address: str, others: list[str]
) -> None:
    resolve, _ = resolving([*others, address])
    config = allowing("exact.org", allowed_networks=[])
    error = refusal_of(Fetcher(config, MAX_BYTES, resolve).fetch("http://exact.org/"))
    assert error.status == 422
    assert "exact.org has an address that is not public" in str(error)
    assert address not in str(error)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_public_address_is_connected_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve, _ = resolving([address])
    connected: list[str] = []

    async def get_from(self: Fetcher, address: str, url: object) -> bytes:
        connected.append(address)
        return CONTENT

    monkeypatch.setattr(Fetcher, "_get_from", get_from)
    config = allowing("exact.org", allowed_networks=[])
    assert asyncio.run(Fetcher(config, MAX_BYTES, resolve).fetch("http://exact.org/")) == CONTENT
    assert connected == [address]


def test_name_that_changes_its_address_is_looked_up_once_and_connected_to_what_was_checked() -> (
    None
):
    async def run() -> tuple[bytes, list[str], Server]:
        resolve, asked = resolving(["127.0.0.1"], ["127.0.0.2"])
        async with (
            serving(saying(whole(CONTENT))) as checked,
            serving(saying(whole(b"inner")), "127.0.0.2", checked.port) as inner,
        ):
            config = allowing(f"{HOST}:{checked.port}", allowed_networks=["127.0.0.1/32"])
            fetcher = Fetcher(config, MAX_BYTES, resolve)
            return await fetcher.fetch(f"http://{HOST}:{checked.port}/"), asked, inner

    content, asked, inner = asyncio.run(run())
    assert (content, asked, inner.requests) == (CONTENT, [HOST], [])


def test_name_that_nobody_knows_is_422() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise OSError(-2, "Name or service not known")

    error = refusal_of(Fetcher(allowing("exact.org"), MAX_BYTES, resolve).fetch("http://exact.org"))
    assert (error.status, "not known" in str(error)) == (422, True)


@pytest.mark.parametrize(
    "host", ["", "*", "*.", "http://a.org", "a.org/b", "a.org:", "a..org", "user@a.org", "a.*.org"]
)
def test_setting_that_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ValidationError, match=r"is no host; allowed: .* files\.example\.org"):
        FetchConfig(allowed_hosts=(host,))


# Redirects.


def redirect(to: str, status: str = "302 Found") -> bytes:
    return whole(b"", f"Location: {to}", status=status)


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 Other", "307 Temporary", "308 Permanent"]
)
def test_redirects_are_followed(status: str) -> None:
    async def run() -> tuple[bytes, list[str]]:
        answers = saying(redirect("../b.png", status), whole(CONTENT))
        async with serving(answers) as server:
            return await fetched(server, "/x/a.png"), server.requests

    content, requests = asyncio.run(run())
    assert content == CONTENT
    assert [head.split()[1] for head in requests] == ["/x/a.png", "/b.png"]


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("http://evil.net/", "evil.net"),
        ("http://127.0.0.1/", "127.0.0.1"),
        ("file:///etc/passwd", "is no URL"),
        (f"http://user@{HOST}/", "credentials"),
        ("http://a:port/", "redirects to no URL"),
    ],
)
def test_redirect_to_what_is_not_allowed_is_refused(to: str, said: str) -> None:
    error = refusal_by(saying(redirect(to)))
    assert said in str(error)


def test_address_is_checked_again_after_a_redirect() -> None:
    async def run() -> bytes:
        resolve, _ = resolving(["127.0.0.1"], ["169.254.169.254"])
        async with serving(saying(redirect("/b.png"))) as server:
            config = allowing(f"{HOST}:{server.port}")
            return await Fetcher(config, MAX_BYTES, resolve).fetch(f"http://{HOST}:{server.port}/")

    assert "not public" in str(refusal_of(run()))


def test_redirects_end() -> None:
    error = refusal_by(saying(redirect("/a.png")), max_redirects=2)
    assert (error.status, "more than 2 redirects" in str(error)) == (422, True)


# Answers.


@pytest.mark.parametrize(
    "answer",
    [
        whole(bytes(MAX_BYTES + 1)),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(MAX_BYTES + 1),
    ],
)
def test_file_that_is_too_large_is_413_announced_or_not(answer: bytes) -> None:
    error = refusal_by(saying(answer))
    assert (error.status, f"allowed: {MAX_BYTES:,} bytes" in str(error)) == (413, True)


def test_body_without_end_is_left_at_the_limit() -> None:
    async def endless(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(1000))
            await writer.drain()

    assert refusal_by(endless).status == 413


async def drip(_request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def silence(_request: bytes, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(1000)


@pytest.mark.parametrize("answer", [drip, silence])
def test_file_that_does_not_come_in_time_is_504(answer: Answer) -> None:
    error = refusal_by(answer, timeout_s=0.3)
    assert (error.status, "within 0.3 s" in str(error)) == (504, True)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (whole(CONTENT, "Content-Encoding: gzip"), "encoded as 'gzip'"),
        (whole(b"", status="404 Not Found"), "answers 404"),
        (whole(CONTENT, status="206 Partial Content"), "answers 206"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na pi", "broke off"),
        (b"what?\r\n\r\n", "broke off"),
        (b"", "broke off"),
    ],
)
def test_answer_that_is_not_the_file_is_502(answer: bytes, said: str) -> None:
    error = refusal_by(saying(answer))
    assert (error.status, said in str(error)) == (502, True), error


def test_host_where_nobody_listens_is_502() -> None:
    async def run() -> bytes:
        async with serving(saying(b"")) as server:
            pass
        return await fetched(server)

    error = refusal_of(run())
    assert (error.status, "cannot be reached" in str(error)) == (502, True)


def test_only_so_many_files_are_fetched_at_once() -> None:
    async def run() -> tuple[bytes, FetchError, bytes]:
        open_it = asyncio.Event()

        async def held(_request: bytes, writer: asyncio.StreamWriter) -> None:
            await open_it.wait()
            writer.write(whole(CONTENT))

        async with serving(held) as server:
            config = allowing(f"{HOST}:{server.port}", max_parallel=1)
            fetcher, url = Fetcher(config, MAX_BYTES, here()), f"http://{HOST}:{server.port}/"
            first = asyncio.create_task(fetcher.fetch(url))
            await asyncio.sleep(0)
            with pytest.raises(FetchError) as caught:
                await fetcher.fetch(url)
            open_it.set()
            return await first, caught.value, await fetcher.fetch(url)

    first, error, after = asyncio.run(run())
    assert (first, error.status, after) == (CONTENT, 503, CONTENT)


# HTTPS.


def authority(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server of this name, and for a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=str(file))


def fetched_over_tls(folder: Path, name: str, *, trusted: bool = True) -> tuple[bytes, list[str]]:
    server_side, client_side = authority(folder, name)
    told: list[str] = []
    server_side.sni_callback = lambda _socket, name, _context: told.append(name)

    async def run() -> bytes:
        async with serving(saying(whole(CONTENT)), tls=server_side) as server:
            config = allowing(f"{HOST}:{server.port}")
            fetcher = Fetcher(config, MAX_BYTES, here(), client_side if trusted else None)
            return await fetcher.fetch(f"https://{HOST}:{server.port}/")

    return asyncio.run(run()), told


def test_https_asks_for_and_checks_the_name_not_the_address(tmp_path: Path) -> None:
    assert fetched_over_tls(tmp_path, HOST) == (CONTENT, [HOST])


@pytest.mark.parametrize(("name", "trusted"), [("other.example.org", True), (HOST, False)])
def test_certificate_of_another_name_or_authority_is_refused(
    name: str, trusted: bool, tmp_path: Path
) -> None:
    with pytest.raises(FetchError, match="cannot be reached"):
        fetched_over_tls(tmp_path, name, trusted=trusted)


# Through the service.


@pytest.mark.parametrize("allowed", [True, False])
def test_service_reads_the_file_at_a_url_where_that_is_allowed(
    allowed: bool, tmp_path: Path
) -> None:
    async def run() -> tuple[int, Any]:
        async with serving(saying(whole(b"page 640 after 0"))) as server:
            hosts = (f"127.0.0.1:{server.port}",) if allowed else ()
            config = ServeConfig(fetch=allowing(*hosts))
            async with served(config, entry_in(tmp_path, obedient)) as client:
                body = {"url": f"http://127.0.0.1:{server.port}/a.png"}
                answer = await client.post("/v1/ocr", json=body)
                return answer.status_code, answer.json()

    status, answer = asyncio.run(run())
    if allowed:
        assert (status, answer["pages"][0]["width"]) == (200, 640)
    else:
        assert (status, answer["title"]) == (422, "File not fetched")
        assert "fetch.allowed_hosts" in answer["detail"]
