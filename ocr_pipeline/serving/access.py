"""Who may ask, and how often: API keys and a token bucket for each."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ocr_pipeline.config.access import AccessConfig, RateConfig
from ocr_pipeline.serving.keys import KeyRing
from ocr_pipeline.serving.problems import problem_response
from ocr_pipeline.serving.records import current_record

ALWAYS_OPEN = ("/livez", "/readyz")
_MOST_BUCKETS = 10_000


@dataclass(frozen=True)
class Allowance:
    """What a bucket says to a request.

    Attributes:
        allowed: it may pass.
        remaining: requests that may follow at once.
        wait_s: seconds until one more may come; 0 where it may at once.
    """

    allowed: bool
    remaining: int
    wait_s: float


class RateLimit:
    """Token buckets by name; those that were unused for longest are forgotten, that is, full.

    Args:
        config: how fast they fill, and how much they hold.
        clock: seconds.
        most: buckets that are kept.
    """

    def __init__(
        self,
        config: RateConfig,
        clock: Callable[[], float] = time.monotonic,
        most: int = _MOST_BUCKETS,
    ) -> None:
        self.policy = f'"requests";q={config.burst};w={_seconds_to_fill(config)}'
        self._per_s = config.per_minute / 60
        self._burst = config.burst
        self._clock = clock
        self._most = most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Tokens, and when there were so many."""

    def take(self, name: str) -> Allowance:
        """Take one token out of a bucket, if it has one."""
        now = self._clock()
        tokens, then = self._buckets.pop(name, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - then) * self._per_s)
        allowed = tokens >= 1
        tokens -= allowed
        self._buckets[name] = (tokens, now)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return Allowance(allowed, int(tokens), max(0.0, 1 - tokens) / self._per_s)


class Access:
    """ASGI middleware: 401 without a valid key, 429 above the rate.

    Keys come as ``Authorization: Bearer KEY`` (RFC 6750) or ``X-API-Key: KEY``. An answer says what
    is left in the ``RateLimit`` fields of draft-ietf-httpapi-ratelimit-headers-10.

    Args:
        app: the application behind it.
        config: open paths and rate.
        keys: that are valid; None: no key is asked for.
    """

    def __init__(self, app: ASGIApp, *, config: AccessConfig, keys: KeyRing | None) -> None:
        self.app = app
        self._keys = keys
        self._rate = RateLimit(config.rate) if config.rate else None
        self._open = (*ALWAYS_OPEN, *config.open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_below(scope, self._open):
            await self.app(scope, receive, send)
            return
        name = None
        if self._keys is not None:
            name = self._keys.name_of(_presented(scope))
            if name is None:
                await _unknown_key(scope, receive, send)
                return
            record = current_record()
            if record is not None:
                record.key = name
        if self._rate is None:
            await self.app(scope, receive, send)
            return
        await self._within_rate(self._rate, name, scope, receive, send)

    async def _within_rate(
        self, rate: RateLimit, name: str | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        allowance = rate.take(f"key {name}" if name else _network_of(scope))
        wait_s = math.ceil(allowance.wait_s)
        headers = {
            "RateLimit-Policy": rate.policy,
            "RateLimit": f'"requests";r={allowance.remaining};t={wait_s}',
        }
        if not allowance.allowed:
            refusal = problem_response(
                429,
                "Too many requests",
                f"no request is left; one more may come in {wait_s} s",
                {"Retry-After": str(wait_s), **headers},
            )
            await refusal(scope, receive, send)
            return

        async def send_with_rate(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await self.app(scope, receive, send_with_rate)


def client_of(scope: Scope) -> str:
    """Address of the client; ``unknown`` where it is none, e.g. on a socket of the file system."""
    address = _address_of(scope)
    return "unknown" if address is None else str(address)


def is_below(scope: Scope, paths: Sequence[str]) -> bool:
    """Whether the path of a request is one of these; ``*`` at the end: or anything below."""
    path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
    return any(
        path.startswith(allowed[:-1]) if allowed.endswith("*") else path == allowed
        for allowed in paths
    )


async def _unknown_key(scope: Scope, receive: Receive, send: Send) -> None:
    refusal = problem_response(
        401,
        "Key needed",
        "no valid API key came with the request; send it as 'Authorization: Bearer KEY' or "
        "'X-API-Key: KEY'",
        {"WWW-Authenticate": 'Bearer realm="ocr"'},
    )
    await refusal(scope, receive, send)


def _presented(scope: Scope) -> str:
    """The key of a request; empty without one, or where it has several."""
    bearers, keys = [], []
    for name, value in scope["headers"]:
        text = value.decode("latin-1")
        if name == b"authorization" and text[:7].lower() == "bearer ":
            bearers.append(text[7:].strip())
        elif name == b"x-api-key":
            keys.append(text.strip())
    given = bearers or keys
    return given[0] if len(given) == 1 else ""


def _network_of(scope: Scope) -> str:
    """What shares a bucket where there are no keys: one IPv4 address, or 64 bits of IPv6."""
    address = _address_of(scope)
    if isinstance(address, IPv6Address):
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return client_of(scope)


def _address_of(scope: Scope) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address((scope.get("client") or ("",))[0])
    except ValueError:
        return None
    # A socket that takes both kinds shows an IPv4 client as ::ffff:203.0.113.7.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _seconds_to_fill(config: RateConfig) -> int:
    return math.ceil(config.burst * 60 / config.per_minute)
