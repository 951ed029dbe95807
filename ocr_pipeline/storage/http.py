"""HTTP and HTTPS, through fsspec and aiohttp."""

import html
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote

from ocr_pipeline.config.sources import StorageConfig
from ocr_pipeline.errors import DataError
from ocr_pipeline.storage.optional import need
from ocr_pipeline.storage.remote import AsyncRoot, FolderRoot, Piece, collected, refusal

_WHOLE = 64 * 2**20
"""Largest file read by pieces from a server that sends whole files only, bytes."""


class HttpRoot(FolderRoot, AsyncRoot):
    """Below ``http(s)://HOST/path``, a URL as a browser has it; read-only."""

    def __init__(self, url: str, config: StorageConfig) -> None:
        super().__init__(url, config)
        self._whole: tuple[str, bytes] = ("", b"")

    def _open(self) -> Any:
        timeout_s = self._config.timeout_s
        timeout = need("aiohttp", "remote").ClientTimeout(
            total=None, connect=timeout_s, sock_connect=timeout_s, sock_read=timeout_s
        )
        return need("fsspec", "remote").filesystem(
            "http",
            skip_instance_cache=True,
            encoded=True,
            simple_links=False,
            # From the environment: proxies, and the passwords of ~/.netrc.
            client_kwargs={"timeout": timeout, "trust_env": True},
        )

    def _fetch(self, place: str, name: str, start: int, size: int | None) -> Piece:
        if size is None:
            # A range too: the answer says how long the file is, beside how long itself is.
            return self._get(place, name, f"bytes={start}-", whole=True)
        kept, whole = self._whole  # at once: another thread may put another file there
        if kept == name:
            return Piece(whole[start : start + size], len(whole))
        piece = self._get(place, name, f"bytes={start}-{start + size - 1}")
        if len(piece.content) <= size:
            return piece
        # The server knows no ranges: the next piece of this file is taken from here.
        self._whole = (name, piece.content)
        return Piece(piece.content[start : start + size], piece.total)

    def _size(self, place: str, name: str) -> int:
        # Not HEAD: a server that allows reading need not allow that.
        return self._get(place, name, "bytes=0-0", body=False).total

    def _get(
        self, place: str, name: str, span: str, *, whole: bool = False, body: bool = True
    ) -> Piece:
        """A piece of a file, or all of it where the server knows no ranges.

        Args:
            place: for messages.
            name: of the file.
            span: the range, as HTTP writes it.
            whole: all of it is wanted.
            body: take its bytes, not only its size.
        """
        aiohttp = need("aiohttp", "remote")
        failures = (aiohttp.ClientError, OSError)
        # Compressed, a piece would be one of something else.
        headers = {"Accept-Encoding": "identity", "Range": span}

        async def get(files: Any) -> Piece:
            session = await files.set_session()
            async with session.get(files.encode_url(self._link(name)), headers=headers) as answer:
                if answer.status >= 400 and answer.status != 416:
                    raise refusal(place, answer.status, answer.reason or "")
                length, total = _sizes(place, answer.status, answer.headers, span)
                if answer.status == 416 or not body:
                    return Piece(b"", total)
                if not whole and answer.status != 206 and length > _WHOLE:
                    raise _no_ranges(place, length)
                content = await collected(answer.content.read, length, failures)
                return Piece(content, len(content) if total < 0 else total)

        piece = self._run(place, get)
        if not body and piece.total < 0:
            raise _no_length(place)
        return piece

    def _store(self, place: str, name: str, content: bytes) -> None:
        raise DataError(
            f"{place}: HTTP is only read, {len(content)} bytes of {name!r} not written; write to "
            "a folder, S3 or WebHDFS"
        )

    def _list(self, place: str, folder: str) -> list[tuple[str, bool]]:
        link = self._link(folder).rstrip("/") + "/"
        files = self._files()
        with self._native_errors(place):
            links = files.ls(link, detail=False)
        base = unquote(link)
        found = set()
        for other in map(html.unescape, links):
            path = unquote(other)
            name = path.removeprefix(base)
            # Sorting links have a query; others lead elsewhere.
            if "?" in other or "#" in other or name == path or "/" in name[:-1] or name in "/":
                continue
            found.add((name.removesuffix("/"), name.endswith("/")))
        return sorted(found)

    def _link(self, name: str) -> str:
        return f"{quote(self.url, safe=':/%[]')}/{quote(name)}"

    @contextmanager
    def _native_errors(self, place: str) -> Iterator[None]:
        aiohttp = need("aiohttp", "remote")
        try:
            yield
        except aiohttp.ClientResponseError as error:
            raise refusal(place, error.status, error.message) from None
        except FileNotFoundError:
            raise refusal(place, 404, "Not Found") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._no_answer(error) from error


def _sizes(place: str, status: int, headers: Mapping[str, str], span: str) -> tuple[int, int]:
    """Bytes of an answer's body and of the whole file; -1 where chunks tell the end.

    Raises:
        DataError: a cut could not be seen, or the answer is no piece that was asked for.
    """
    encoding = headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise DataError(
            f"{place}: the server compresses it ({encoding}) though asked not to; turn that off"
        )
    length = int(headers.get("Content-Length", -1))
    if status in (206, 416):
        return length, _total(place, status, headers.get("Content-Range", ""), span)
    if length < 0 and headers.get("Transfer-Encoding", "").lower() != "chunked":
        raise _no_length(place)
    return length, length


def _total(place: str, status: int, content_range: str, span: str) -> int:
    """Bytes of the whole file, from ``bytes 0-99/1000`` or ``bytes */1000``."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", content_range)
    if found is None or (status == 206 and not span.startswith(f"bytes={found[1]}-")):
        raise DataError(
            f"{place}: asked for {span}, the server says {content_range!r}; its ranges cannot be "
            "used: serve it with another server, or copy it here"
        )
    return int(found[2])


def _no_length(place: str) -> DataError:
    return DataError(
        f"{place}: the server does not say how long it is, so a cut would not be seen; serve it "
        "with Content-Length"
    )


def _no_ranges(place: str, length: int) -> DataError:
    return DataError(
        f"{place}: the server knows no ranges, and the file has {length} bytes (allowed without "
        f"ranges: {_WHOLE}); serve it with another server, or copy it here"
    )
