"""Who may use the service, how often, from which web pages, and how slowly."""

import re
from ipaddress import ip_network

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from ocr_pipeline.config.base import Config

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")


class RateConfig(Config):
    """A token bucket for each key, or for each client address where there are no keys."""

    per_minute: PositiveFloat = 60.0
    """Requests that come back into a bucket, per minute."""
    burst: PositiveInt = 20
    """Requests that a full bucket holds: so many may come at once."""


class AccessConfig(Config):
    """Who may ask."""

    keys_file: str | None = None
    """Lines ``name:sha256-hex`` as ``ocr-pipeline key NAME`` prints them, read anew when they
    change; null: no key is asked for."""
    open_paths: tuple[str, ...] = ("/", "/web/*")
    """Answered without a key and without limit, as /livez and /readyz always are; ``*`` at the end:
    all below. The web page is open since a browser cannot send a key with its first request, and
    holds nothing secret; /metrics tells what is read and how much, so it is not."""
    rate: RateConfig | None = None
    """How often a key or an address may ask; null: as often as it likes."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed."""
    cors_origins: tuple[str, ...] = ()
    """Web pages of other hosts that may call the service, e.g. https://example.org; ``*``: all."""

    @field_validator("open_paths")
    @classmethod
    def _paths(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if not path.startswith("/") or "*" in path[:-1]:
                raise ValueError(f"{path!r} is no path; give one such as /metrics or /web/*")
        return paths

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ip_network(proxy)
            except ValueError as error:
                raise ValueError(
                    f"{error}; give an address or a network, e.g. 10.0.0.0/8"
                ) from None
        return proxies

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is no origin; give scheme and host without a path, "
                    "e.g. https://example.org, or *"
                )
        return origins


class PatienceConfig(Config):
    """How long clients may take, and how many there may be."""

    max_connections: PositiveInt = 512
    """Connections at a time; one more is answered 503 and closed."""
    head_timeout_s: PositiveFloat = 10.0
    """From the first byte, or from the opening, to the end of the headers, seconds."""
    body_timeout_s: PositiveFloat = 30.0
    """From the headers to the end of the body, seconds; then 408."""
    body_bytes_per_s: PositiveFloat = 50_000.0
    """For each so many bytes that have come, the body has one second more."""
    idle_timeout_s: int = Field(default=5, ge=1)
    """An open connection without a request is closed after that, seconds."""
    write_timeout_s: PositiveFloat = 60.0
    """A client that takes nothing of its answer for so long is cut off, seconds."""
