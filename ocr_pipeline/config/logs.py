"""What the service says of itself: logs and traces."""

from typing import Literal

from pydantic import Field, PositiveInt

from ocr_pipeline.config.base import Config


class LogConfig(Config):
    """Logs, one line an event."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is written."""
    form: Literal["auto", "json", "console"] = "auto"
    """auto: for people on a terminal, else one JSON object a line."""
    file: str | None = None
    """Written there; null: to stderr."""
    max_bytes: PositiveInt = 50 * 1024 * 1024
    """A file that would become larger is renamed to ``.1`` and begun anew, bytes."""
    backups: int = Field(default=3, ge=1, le=100)
    """Renamed files that are kept."""
    text: bool = False
    """Log the text that was read, too; it may be private."""


class TraceConfig(Config):
    """OpenTelemetry traces; they need ``pip install 'ocr_pipeline[trace]'``."""

    endpoint: str | None = Field(default=None, pattern=r"^https?://")
    """Of a collector that takes OTLP over HTTP, e.g. http://localhost:4318/v1/traces; null: what
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT says, else no traces."""
    ratio: float = Field(default=1.0, ge=0, le=1)
    """Of the requests that begin a trace here, so many are traced."""
