"""Where labels and pictures come from."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    field_validator,
    model_validator,
)

from ocr_pipeline.config.base import Config

Task = Literal["rec", "det"]
Kind = Literal["list", "ppocrlabel", "icdar2015", "lmdb", "labelme", "coco", "xfund"]


class StorageConfig(Config):
    """How files that are not on this machine are read (S3, WebHDFS, HTTP).

    Keys and passwords never stand here: they come from where the protocol's own tools take them
    (for S3 ``AWS_ACCESS_KEY_ID`` and so on, or ``~/.aws``).
    """

    s3_endpoint: str | None = None
    """URL of an S3 server that is not Amazon's, e.g. ``http://minio.local:9000``."""
    s3_anonymous: bool = False
    """Read public buckets without a key."""
    hdfs_user: str | None = None
    """User name for WebHDFS without Kerberos."""
    hdfs_https: bool = False
    """WebHDFS over TLS."""
    retries: NonNegativeInt = 4
    """How often a read that failed or was cut off is tried again."""
    backoff_s: NonNegativeFloat = 0.5
    """Wait before the first retry, s; doubles each time."""
    timeout_s: PositiveFloat = 30.0
    """Longest wait for an answer, s."""


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


Place = Annotated[str, BeforeValidator(_as_text)]
"""A path or a URL."""


class SourceConfig(Config):
    """One set of labels with its pictures. May be written as its ``labels`` path alone."""

    labels: Place
    """File or folder of the labels, as ``kind`` has it: a path or a URL (``s3://``, ``webhdfs://``,
    ``http://``, ``https://``). A pattern with ``*`` names several files."""
    kind: Kind = "list"
    """list: PaddleOCR's lists. ppocrlabel: a PPOCRLabel project folder. icdar2015: folder of
    ``gt_*.txt``. lmdb: ``image-%09d`` / ``label-%09d``. labelme, coco, xfund: their JSON files."""
    images: Place | None = None
    """Folder or URL that picture paths start from; null: ``images`` of the whole config, else
    where ``kind`` keeps them."""
    weight: PositiveFloat = 1.0
    """How often each sample is shown in an epoch: 2 twice, 0.5 every other epoch."""
    name: str | None = None
    """In reports and logs; null: the last part of ``labels``."""
    group: str | None = None
    """Regular expression on the picture's path; samples whose first bracket matches the same text
    (a document, a customer) stay in one part of the split."""

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        if isinstance(value, str | Path):
            return {"labels": str(value)}
        if not isinstance(value, dict | SourceConfig):
            raise ValueError("a source is a path, or a mapping with `labels`")
        return value

    @field_validator("group")
    @classmethod
    def _check_group(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            groups = re.compile(value).groups
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression ({error})") from None
        if groups < 1:
            raise ValueError(f"{value!r} has no bracket; write e.g. '^([^/]+)/'")
        return value


class PackConfig(Config):
    """Shards that a dataset's pictures are packed into."""

    enabled: bool = False
    """Copy all pictures into shards; else they stay where they are."""
    out: Place | None = None
    """Folder or URL of the shards; null: ``packs/`` in the dataset."""
    shard_mb: int = Field(default=256, ge=1, le=5000)
    """No shard is larger, MB, unless one picture alone is."""
