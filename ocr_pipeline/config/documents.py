"""What a document of several pages may be."""

from pydantic import Field, PositiveFloat, PositiveInt

from ocr_pipeline.config.base import Config


class DocumentLimits(Config):
    """A PDF or a TIFF of several pages; each page must also be within ``ImageLimits``."""

    max_pages: PositiveInt = 100
    """Pages of one document."""
    pdf_max_bytes: PositiveInt = 50 * 1024 * 1024
    """Size of a PDF, bytes; other files keep to ``ImageLimits.max_bytes``."""
    pdf_dpi: int = Field(default=200, ge=50, le=600)
    """Dots per inch that a PDF page is drawn at; lowered where it would be too large a picture."""
    pdf_memory_mib: int = Field(default=1024, ge=256)
    """Memory that drawing one PDF page may take, MiB; beyond it the page is refused."""
    pdf_timeout_s: PositiveFloat = 30.0
    """A PDF page that is not drawn by then is refused, seconds."""
