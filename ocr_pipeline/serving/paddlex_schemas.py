"""What PaddleX 3.7 asks and answers at ``/ocr``: its names, so that its clients need no change."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Corner = tuple[int, int]
"""(x, y) px of the upright page."""
Box = tuple[int, int, int, int]
"""Left, top, right, bottom, px of the upright page."""


class CamelModel(BaseModel):
    """Its fields are camelCase outside."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class InferRequest(CamelModel):
    """A file to read; what is null follows the service."""

    file: str = Field(description="base64, or a URL of a host that the operator allows")
    file_type: Annotated[
        Literal[0, 1] | None, Field(description="0: PDF; 1: picture; its bytes say it anyway")
    ] = None
    use_doc_orientation_classify: bool | None = Field(None, description="true is refused")
    use_doc_unwarping: bool | None = Field(None, description="true is refused")
    use_textline_orientation: bool | None = Field(
        None,
        description="the service looks for upside-down lines, or not, for all requests: "
        "model_settings of the answer say which; true is refused where it does not",
    )
    text_det_limit_side_len: int | None = Field(None, description="as served, else refused")
    text_det_limit_type: str | None = Field(None, description="as served, else refused")
    text_det_thresh: float | None = Field(None, description="as served, else refused")
    text_det_box_thresh: float | None = Field(None, description="as served, else refused")
    text_det_unclip_ratio: float | None = Field(None, description="as served, else refused")
    text_rec_score_thresh: float | None = Field(
        None, description="lines that are less sure are left out"
    )
    return_word_box: bool | None = Field(None, description="say where each word stands")
    visualize: bool | None = Field(None, description="give pictures")
    log_id: str | None = Field(None, description="comes back in the answer")


class ModelSettings(BaseModel):
    """What was done besides detecting and recognising."""

    use_doc_preprocessor: Literal[False] = False
    use_textline_orientation: bool


class TextDetParams(BaseModel):
    """Rules of the detector."""

    limit_side_len: int = Field(description="px")
    limit_type: Literal["min"] = "min"
    thresh: float
    max_side_limit: int = Field(description="px")
    box_thresh: float
    unclip_ratio: float


class PrunedResult(BaseModel):
    """All that was read on one page; the lists of ``rec_`` belong together, line by line."""

    model_settings: ModelSettings
    dt_polys: list[list[Corner]] = Field(description="before text_rec_score_thresh")
    text_det_params: TextDetParams
    text_type: Literal["general"] = "general"
    textline_orientation_angles: list[Literal[-1, 0, 1]] = Field(
        description="of dt_polys; 1: turned by 180 degrees; -1: not looked for"
    )
    text_rec_score_thresh: float
    return_word_box: bool
    rec_texts: list[str] = Field(description="in reading order")
    rec_scores: list[float]
    rec_polys: list[list[Corner]]
    rec_boxes: list[Box]
    text_word_boxes: list[list[Box]] | None = None
    text_word: list[list[str]] | None = None

    model_config = ConfigDict(protected_namespaces=())


class OcrResult(CamelModel):
    """A page, and with ``visualize`` its pictures: JPEG in base64."""

    pruned_result: PrunedResult
    ocr_image: str | None = None
    doc_preprocessing_image: str | None = None
    input_image: str | None = None


class ImageInfo(CamelModel):
    """Of the file."""

    width: int
    height: int
    type: Literal["image"] = "image"


class PageSize(CamelModel):
    """Of a page, px."""

    width: int
    height: int


class PagesInfo(CamelModel):
    """Of a file of pages."""

    num_pages: int
    pages: list[PageSize]
    type: Literal["pdf", "tiff"]


class InferResult(CamelModel):
    """Pages in order."""

    ocr_results: list[OcrResult]
    data_info: ImageInfo | PagesInfo


class InferAnswer(CamelModel):
    """Of a request that was served."""

    log_id: str
    result: InferResult
    error_code: Literal[0] = 0
    error_msg: Literal["Success"] = "Success"


class PlainAnswer(CamelModel):
    """Of one that was not; and of ``/health``."""

    log_id: str
    error_code: int = Field(description="the HTTP status; 0: healthy")
    error_msg: str
