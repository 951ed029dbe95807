"""S3, through s3fs."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ocr_pipeline.errors import DataError
from ocr_pipeline.storage.optional import need
from ocr_pipeline.storage.remote import AsyncRoot, Piece, TryAgainError, collected, refusal
from ocr_pipeline.storage.root import MissingFileError
from ocr_pipeline.storage.urls import fits

_PAGE = 1000
"""Keys of one answer to a listing; S3 gives no more."""
_LARGEST = 5 * 2**30
"""Largest file that S3 takes in one request, bytes."""


class _RangeError(Exception):
    """S3 says that the file ends before the piece asked for."""


class S3Root(AsyncRoot):
    """Below ``s3://BUCKET/prefix``."""

    def _open(self) -> Any:
        timeout_s = self._config.timeout_s
        return need("s3fs", "remote").S3FileSystem(
            anon=self._config.s3_anonymous,
            endpoint_url=self._config.s3_endpoint,
            skip_instance_cache=True,
            config_kwargs={
                "connect_timeout": timeout_s,
                "read_timeout": timeout_s,
                "retries": {"total_max_attempts": 1},  # those of this package count
                # Servers other than Amazon's refuse the checksums that newer clients send, or
                # answer a range with that of the whole file.
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            },
        )

    def _fetch(self, place: str, name: str, start: int, size: int | None) -> Piece:
        failures = _network_failures()
        # Of the whole file too: the answer to a range says how long the file is.
        span = f"bytes={start}-" if size is None else f"bytes={start}-{start + size - 1}"

        async def get(files: Any) -> Piece:
            client = await files.set_session()
            answer = await client.get_object(Bucket=self._host, Key=self._key(name), Range=span)
            length = int(answer["ContentLength"])
            try:
                content = await collected(answer["Body"].read, length, failures)
            finally:
                answer["Body"].close()
            total = str(answer.get("ContentRange", length)).rpartition("/")[2]
            return Piece(content, int(total))

        try:
            return self._run(place, get)
        except _RangeError:
            return Piece(b"", self._size(place, name))

    def _size(self, place: str, name: str) -> int:
        async def head(files: Any) -> int:
            client = await files.set_session()
            answer = await client.head_object(Bucket=self._host, Key=self._key(name))
            return int(answer["ContentLength"])

        return self._run(place, head)

    def _store(self, place: str, name: str, content: bytes) -> None:
        if len(content) > _LARGEST:
            raise DataError(
                f"{place}: {len(content)} bytes, S3 takes {_LARGEST} at once; make smaller files "
                "(pack.shard_mb)"
            )

        async def put(files: Any) -> None:
            client = await files.set_session()
            await client.put_object(Bucket=self._host, Key=self._key(name), Body=content)

        self._run(place, put)

    def names(self, pattern: str = "**") -> Iterator[str]:
        # S3 has no folders: it lists all that is below a prefix, in the order asked for.
        parts = pattern.split("/")
        top = self._key("")
        fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0].rpartition("/")[0]
        prefix = f"{top}{fixed}/" if fixed else top
        nothing, token = True, ""
        while nothing or token:
            keys, token = self._page(prefix, token)
            nothing = nothing and not keys
            names = (key.removeprefix(top) for key in keys if not key.endswith("/"))
            yield from (name for name in names if fits(name.split("/"), parts))
            if nothing and not token:
                break
        if nothing and prefix == top:
            raise MissingFileError(f"{self.url}: no file below it; check the bucket and the path")

    def _page(self, prefix: str, token: str) -> tuple[list[str], str]:
        """Up to ``_PAGE`` keys, and what asks for the next; "" at the end."""
        after = {"ContinuationToken": token} if token else {}

        async def page(files: Any) -> tuple[list[str], str]:
            client = await files.set_session()
            answer = await client.list_objects_v2(
                Bucket=self._host, Prefix=prefix, MaxKeys=_PAGE, **after
            )
            keys = [str(entry["Key"]) for entry in answer.get("Contents", [])]
            return keys, str(answer.get("NextContinuationToken", ""))

        return self._patiently(self.url, lambda: self._run(self.url, page))

    def _key(self, name: str) -> str:
        return f"{self._folder}/{name}" if self._folder else name

    @contextmanager
    def _native_errors(self, place: str) -> Iterator[None]:
        botocore = need("botocore.exceptions", "remote")
        try:
            yield
        except botocore.ClientError as error:
            raise _meaning(place, error.response) from None
        except _network_failures() as error:
            raise self._no_answer(error) from error
        except (botocore.NoCredentialsError, botocore.PartialCredentialsError) as error:
            raise DataError(
                f"{place}: {error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, write "
                "~/.aws/credentials, or set storage.s3_anonymous for a public bucket"
            ) from None
        except botocore.BotoCoreError as error:
            raise DataError(f"{place}: {error}; check the URL and storage.s3_endpoint") from None


def _meaning(place: str, answer: dict[str, Any]) -> DataError | TryAgainError | _RangeError:
    """What an error that S3 answered means."""
    code = str(answer.get("Error", {}).get("Code", ""))
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "InvalidRange":
        return _RangeError(place)
    if code in ("RequestTimeout", "SlowDown"):  # the first comes with 400
        return TryAgainError(f"the server answered {status} {code}")
    return refusal(place, status, "" if code == str(status) else code)


def _network_failures() -> tuple[type[Exception], ...]:
    botocore = need("botocore.exceptions", "remote")
    return (
        botocore.ConnectionError,
        botocore.HTTPClientError,
        botocore.IncompleteReadError,
        botocore.FlexibleChecksumError,
        need("botocore.parsers", "remote").ResponseParserError,
        need("aiohttp", "remote").ClientError,
        OSError,
    )
