"""What the service answers."""

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

_PAGE: JsonDict = {
    "page": 1,
    "width": 1240,
    "height": 1754,
    "dpi": 150.0,
    "text": "合计 ¥128.50",
    "lines": [
        {
            "text": "合计 ¥128.50",
            "confidence": 0.9874,
            "points": [[96.0, 120.0], [402.0, 118.0], [402.0, 158.0], [96.0, 160.0]],
            "score": 0.91,
            "row": 0,
            "turned": False,
        }
    ],
    "dropped": {"too_small": 0, "low_score": 1, "over_limit": 0, "no_text": 0},
    "milliseconds": {"decode": 12.4, "detect": 41.2, "recognize": 18.7, "total": 72.3},
}
_MODELS: JsonDict = {
    "detector": "ppocrv6_small_det (1f2e3d4c5b6a)",
    "recognizer": "ppocrv6_small_rec (a6b5c4d3e2f1)",
}


class Part(BaseModel):
    """A word or character of a line."""

    text: str
    confidence: float = Field(ge=0, le=1, description="mean probability of its characters")
    points: list[tuple[float, float]] = Field(description="as those of the line")


class Line(BaseModel):
    """One line of text."""

    text: str = Field(examples=["合计 ¥128.50"])
    confidence: float = Field(ge=0, le=1, description="mean probability of the characters")
    points: list[tuple[float, float]] = Field(
        description="four corners (x, y) in px of the upright picture, clockwise from top-left; "
        "of a turned line from bottom-right"
    )
    score: float = Field(ge=0, le=1, description="how sure the detector is of the region")
    row: int = Field(ge=0, description="row of the page, in reading order")
    turned: bool = Field(description="the line stands upside-down in the picture")
    words: list[Part] | None = Field(
        None, description="with words=true: what stands between spaces; a Chinese character is one"
    )
    characters: list[Part] | None = Field(None, description="with words=true")


class Picture(BaseModel):
    """A page as it was read: upright, as points count on it."""

    media_type: str = Field(examples=["image/jpeg"])
    data: str = Field(description="base64")


class Page(BaseModel):
    """All that was read on one page."""

    page: int = Field(ge=1, description="number in its file")
    width: int = Field(description="of the upright page, px")
    height: int = Field(description="of the upright page, px")
    dpi: float | None = Field(description="at which a page of a PDF was drawn; null: a picture")
    text: str = Field(description="rows of the page, one per line")
    lines: list[Line] = Field(description="in reading order")
    dropped: dict[str, int] = Field(description="regions that gave no line, by reason")
    milliseconds: dict[str, float] = Field(description="wall time per step")
    picture: Picture | None = Field(None, description="with picture=true")


class OcrAnswer(BaseModel):
    """All that was read in one file."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": _PAGE["text"], "page_count": 1, "pages": [_PAGE], "models": _MODELS}
            ]
        }
    )

    text: str = Field(description="of all pages, with a form feed between them")
    page_count: int = Field(ge=1, description="of the file, read or not")
    pages: list[Page]
    models: dict[str, str] = Field(description="name and checkpoint of both models")


class FilePage(Page):
    """One page of one of several files."""

    index: int = Field(ge=0, description="place of the file in the request")
    file: str = Field(description="its name")
    page_count: int = Field(ge=1, description="of the file, read or not")


class FileError(BaseModel):
    """A page, or a whole file, that was not read."""

    index: int = Field(ge=0, description="place of the file in the request")
    file: str = Field(description="its name")
    page: int | None = Field(description="null: the whole file")
    page_count: int = Field(0, ge=1, description="pages of the file; absent for a whole file")
    error: "Problem"


class LineText(BaseModel):
    """What was read on a cut-out line."""

    text: str
    confidence: float = Field(ge=0, le=1, description="mean probability of the characters")
    turned: bool = Field(description="the line stands upside-down in the picture")


class LineError(BaseModel):
    """A line that was not read."""

    error: "Problem"


class LinesAnswer(BaseModel):
    """What was read on cut-out lines, in the order of the request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "lines": [{"text": "合计 ¥128.50", "confidence": 0.9874, "turned": False}],
                    "models": _MODELS,
                }
            ]
        }
    )

    lines: list[LineText | LineError]
    models: dict[str, str] = Field(description="name and checkpoint of both models")


class EngineFigure(BaseModel):
    """One form of a model on this machine."""

    variant: str = Field(examples=["openvino-bf16"])
    milliseconds: float | None = Field(description="median of a measured run; null: not timed")
    refused: str | None = Field(description="why it may not serve; null: it may")


class ModelAnswer(BaseModel):
    """A model that is served."""

    name: str
    task: str
    checkpoint: str = Field(description="sha256 of the weights")
    engine: str = Field(description="what computes it", examples=["openvino-bf16"])
    reason: str = Field(description="why that engine")
    candidates: list[EngineFigure]


class Status(BaseModel):
    """State of the service."""

    status: str = Field(examples=["ready"])
    detail: str = ""


class Problem(BaseModel):
    """An error, after RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
