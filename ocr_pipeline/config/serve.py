"""Stage 4."""

from pydantic import Field, PositiveFloat, PositiveInt

from ocr_pipeline.config.access import AccessConfig, PatienceConfig
from ocr_pipeline.config.base import Config
from ocr_pipeline.config.documents import DocumentLimits
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.config.logs import LogConfig, TraceConfig
from ocr_pipeline.config.orientation import OrientationConfig


class BatchConfig(Config):
    """Requests with many files."""

    max_files: PositiveInt = 100
    """Files of ``/v1/ocr/batch``; each within ``limits``."""
    max_bytes: PositiveInt = 200 * 1024 * 1024
    """All of them together, bytes."""
    max_lines: PositiveInt = 256
    """Cut-out lines of ``/v1/recognize``; together within ``limits.max_bytes``."""


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
    """A request that waited and was read for longer is answered 504, seconds."""
    access: AccessConfig = AccessConfig()
    """Who may ask, and how often."""
    patience: PatienceConfig = PatienceConfig()
    """With slow clients, and with many."""
    logs: LogConfig = LogConfig()
    trace: TraceConfig = TraceConfig()
