"""Files that a client names by URL, fetched so that it cannot reach what only the service can.

Only hosts that the operator allows; their names are resolved here, and what is connected to is the
address that was looked at (no second look-up, which a hostile name server could answer otherwise).
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address, ip_network

import httpx

from ocr_pipeline.config.serve import FetchConfig

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host name and a port to addresses."""
_SCHEMES = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_SHOWN = 200
# What is_global lets through, or did in some version of Python: addresses that stand for another
# one (IPv4-mapped, NAT64, 6to4, Teredo) or are kept for protocols, documentation or former uses.
_SPECIAL = [
    ip_network(text)
    for text in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "::/96",
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/23",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
    )
]
_log = logging.getLogger(__name__)


class FetchError(Exception):
    """A file was not fetched; the message says why, and nothing about addresses.

    Attributes:
        status: of the answer: 413, 422, 502, 503 or 504.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


async def resolve_by_system(host: str, port: int) -> list[str]:
    """Addresses of a host, the best first, as the system knows them."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Fetcher:
    """Fetches files over HTTP; without credentials, cookies or the environment's proxies.

    Args:
        config: what is allowed.
        max_bytes: of a file.
        resolve: from names to addresses.
        tls: whom to trust; None: the public authorities.
    """

    def __init__(
        self,
        config: FetchConfig,
        max_bytes: int,
        resolve: Resolve = resolve_by_system,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._config = config
        self._max_bytes = max_bytes
        self._resolve = resolve
        self._tls = tls
        self._running = 0

    async def fetch(self, url: str) -> bytes:
        """Return the file at a URL.

        Raises:
            FetchError: fetching is off, or the host, an address, a redirect or the answer is not
                allowed, or it takes too long.
        """
        config = self._config
        if not config.allowed_hosts:
            raise FetchError(
                422,
                "this service fetches no files from URLs; send the file itself, or ask the "
                "operator to allow the host with fetch.allowed_hosts",
            )
        if self._running >= config.max_parallel:
            raise FetchError(503, f"{self._running} files are being fetched; try again in 1 s")
        self._running += 1
        try:
            async with asyncio.timeout(config.timeout_s):
                return await self._follow(_parsed(url))
        except TimeoutError:
            raise FetchError(
                504, f"the file was not there within {config.timeout_s:g} s; send the file itself"
            ) from None
        finally:
            self._running -= 1

    async def _follow(self, url: httpx.URL) -> bytes:
        for _ in range(self._config.max_redirects + 1):
            got = await self._get(url)
            if isinstance(got, bytes):
                return got
            url = got
        raise FetchError(
            422,
            f"more than {self._config.max_redirects} redirects; give the URL that they lead to",
        )

    async def _get(self, url: httpx.URL) -> bytes | httpx.URL:
        """The file, or where it has gone."""
        for address in await self._addresses(url):
            try:
                return await self._get_from(address, url)
            except httpx.ConnectError as error:
                _log.info("%s at %s: %s", url.host, address, error)
            except httpx.TimeoutException:
                raise TimeoutError from None
            except httpx.HTTPError as error:
                raise FetchError(
                    502, f"{_host_of(url)} broke off ({type(error).__name__}); try again"
                ) from None
        raise FetchError(502, f"{_host_of(url)} cannot be reached; check the URL or try again")

    async def _addresses(self, url: httpx.URL) -> Sequence[str]:
        """Where the host is; all of it allowed."""
        self._check_host(url)
        port = url.port or _SCHEMES[url.scheme]
        try:
            found = await self._resolve(url.raw_host.decode("ascii"), port)
        except (OSError, UnicodeError):
            raise FetchError(
                422, f"{_host_of(url)} is not known to the name service; check the URL"
            ) from None
        for address in found:
            if not self._is_allowed(address):
                _log.warning("%s is at %s, which fetch does not allow", url.host, address)
                raise FetchError(
                    422,
                    f"{_host_of(url)} has an address that is not public; the operator can allow "
                    "its network with fetch.allowed_networks",
                )
        return found

    def _check_host(self, url: httpx.URL) -> None:
        if url.scheme not in _SCHEMES or not url.host:
            raise FetchError(422, f"{str(url)[:_SHOWN]!r} is no URL; allowed: http and https")
        if url.userinfo:
            raise FetchError(422, "the URL holds a user name; allowed: URLs without credentials")
        host, port = _host_of(url), url.port or _SCHEMES[url.scheme]
        if not any(_matches(host, port, url.scheme, one) for one in self._config.allowed_hosts):
            raise FetchError(
                422,
                f"files are not fetched from {host[:_SHOWN]!r}, port {port}; send the file itself, "
                "or ask the operator to allow the host with fetch.allowed_hosts",
            )

    def _is_allowed(self, text: str) -> bool:
        address = ip_address(text)
        if any(address in network for network in self._config.allowed_networks):
            return True
        return (
            address.is_global
            and not (address.is_multicast or address.is_reserved)
            and not any(address in network for network in _SPECIAL)
        )

    async def _get_from(self, address: str, url: httpx.URL) -> bytes | httpx.URL:
        if self._tls is None:
            self._tls = httpx.create_ssl_context(trust_env=False)
        extensions = {"sni_hostname": _host_of(url)} if url.scheme == "https" else {}
        request = httpx.Request(
            "GET",
            url.copy_with(host=address, fragment=None),
            headers={
                "Host": url.netloc.decode("ascii"),
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                "User-Agent": "ocr_pipeline",
            },
            extensions={**extensions, "timeout": httpx.Timeout(self._config.timeout_s).as_dict()},
        )
        async with httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False) as transport:
            response = await transport.handle_async_request(request)
            try:
                if response.status_code in _REDIRECTS:
                    return _joined(url, response.headers.get("location", ""))
                self._check_answer(url, response)
                return await self._content(response)
            finally:
                await response.aclose()

    def _check_answer(self, url: httpx.URL, response: httpx.Response) -> None:
        if response.status_code != 200:
            raise FetchError(
                502, f"{_host_of(url)} answers {response.status_code}, not 200; check the URL"
            )
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            raise FetchError(
                502,
                f"{_host_of(url)} sends the file encoded as {encoding[:_SHOWN]!r}; allowed: "
                "as it is, which was asked for",
            )
        length = response.headers.get("content-length", "0")
        if length.isdigit():
            self._check_size(int(length))

    async def _content(self, response: httpx.Response) -> bytes:
        content = bytearray()
        async for part in response.aiter_raw():
            content += part
            self._check_size(len(content))
        return bytes(content)

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise FetchError(
                413,
                f"the file has {size:,} bytes or more; allowed: {self._max_bytes:,} bytes. "
                "Give a smaller file",
            )


def _parsed(text: str) -> httpx.URL:
    try:
        return httpx.URL(text)
    except httpx.InvalidURL as error:
        raise FetchError(422, f"{text[:_SHOWN]!r} is no URL ({error})") from None


def _joined(url: httpx.URL, location: str) -> httpx.URL:
    try:
        return url.join(location)
    except httpx.InvalidURL:
        raise FetchError(502, f"{_host_of(url)} redirects to no URL; check the URL") from None


def _host_of(url: httpx.URL) -> str:
    """As it is compared and named: lower case, in ASCII, without the dot of the root."""
    return url.raw_host.decode("ascii").lower().removesuffix(".")


def _matches(host: str, port: int, scheme: str, allowed: str) -> bool:
    entry = httpx.URL(f"{scheme}://{allowed.removeprefix('*.')}")
    if port != (entry.port or _SCHEMES[scheme]):
        return False
    name = _host_of(entry)
    return host.endswith(f".{name}") if allowed.startswith("*.") else host == name
