"""Stage 4."""

import re

from pydantic import (
    Field,
    IPvAnyNetwork,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from ocr_pipeline.config.access import AccessConfig, PatienceConfig
from ocr_pipeline.config.base import Config
from ocr_pipeline.config.documents import DocumentLimits
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.config.logs import LogConfig, TraceConfig
from ocr_pipeline.config.orientation import OrientationConfig

_HOST = re.compile(r"(\*\.)?([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.I)


class BatchConfig(Config):
    """Requests with many files."""

    max_files: PositiveInt = 100
    """Files of ``/v1/ocr/batch``; each within ``limits``."""
    max_bytes: PositiveInt = 200 * 1024 * 1024
    """All of them together, bytes."""
    max_lines: PositiveInt = 256
    """Cut-out lines of ``/v1/recognize``; together within ``limits.max_bytes``."""


class CompatibleConfig(Config):
    """``/ocr``, which answers as PaddleX's server does."""

    visualize: bool = True
    """Give pictures where a request does not say, as PaddleX does; they cost time and bytes."""


class FetchConfig(Config):
    """Files that the service fetches from a URL of the client's; off until a host is allowed."""

    allowed_hosts: tuple[str, ...] = ()
    """Names, e.g. ``files.example.org``; ``*.example.org`` is all below it, not itself. Port 80 for
    http and 443 for https, unless one is given: ``files.example.org:8443``."""
    allowed_networks: tuple[IPvAnyNetwork, ...] = ()
    """Where those hosts may be besides public addresses, e.g. 10.1.0.0/16; what is private,
    loopback, link-local or otherwise special is refused without."""
    timeout_s: PositiveFloat = 15.0
    """For all of it: names, redirects, the file; seconds."""
    max_redirects: NonNegativeInt = 3
    """Each to an allowed host."""
    max_parallel: PositiveInt = 8
    """Files that are fetched at once; one more is answered 503 with Retry-After."""

    @field_validator("allowed_hosts")
    @classmethod
    def _check_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not _HOST.fullmatch(host):
                raise ValueError(
                    f"{host!r} is no host; allowed: a name or address, with *. before it and "
                    ":port behind it where needed, e.g. files.example.org, *.example.org:8443, "
                    "[2001:db8::1]:80"
                )
        return hosts


class ServeConfig(Config):
    """The HTTP service. What the models need is in their own cards, never here."""

    detector: str = "ppocrv6_small_det"
    """Folder of an exported detector, or a released model's name."""
    recognizer: str = "ppocrv6_small_rec"
    """Folder of an exported recognizer, or a released model's name."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 opens the service to the network."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0: any free one."""
    engine: EngineConfig = EngineConfig()
    orientation: OrientationConfig = OrientationConfig()
    """Lines that stand upside-down."""
    limits: ImageLimits = ImageLimits()
    """What a picture may be."""
    documents: DocumentLimits = DocumentLimits()
    batch: BatchConfig = BatchConfig()
    fetch: FetchConfig = FetchConfig()
    compatible: CompatibleConfig = CompatibleConfig()
    workers: PositiveInt = 1
    """Processes that read, each with models of its own and ``engine.threads`` threads."""
    start_timeout_s: PositiveFloat = 300.0
    """A process that has not loaded its models by then is replaced, seconds."""
    silence_s: PositiveFloat = 10.0
    """A process without a sign of life for so long is replaced, seconds; it gives one a second."""
    worker_mb: PositiveInt | None = 4000
    """A process that has grown above it while it read is replaced by a fresh one, which loads
    beside it, MB; null: never."""
    max_waiting: PositiveInt = 16
    """Requests that may be in work or waiting; one more is answered 503 with Retry-After."""
    timeout_s: PositiveFloat = 60.0
    """A page, or the lines of a request, that waited and was read for longer is answered 504,
    seconds; a file of many pages may take longer as a whole."""
    drain_timeout_s: PositiveFloat | None = None
    """What is in work when the service is told to stop is cut off after so long, seconds; None:
    ``timeout_s`` and 5 more, which a file of many pages may exceed."""
    access: AccessConfig = AccessConfig()
    """Who may ask, and how often."""
    patience: PatienceConfig = PatienceConfig()
    """With slow clients, and with many."""
    logs: LogConfig = LogConfig()
    trace: TraceConfig = TraceConfig()
