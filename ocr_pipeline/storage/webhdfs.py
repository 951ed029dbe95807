"""HDFS by its REST protocol WebHDFS, through fsspec and requests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ocr_pipeline.errors import DataError
from ocr_pipeline.storage.optional import need
from ocr_pipeline.storage.remote import CHUNK, FolderRoot, Piece, TryAgainError, refusal

_PASSING = ("StandbyException", "RetriableException", "SafeModeException")
"""HDFS answers these with 403, though another try may be answered."""


class WebHdfsRoot(FolderRoot):
    """Below ``webhdfs://HOST:PORT/path``, the namenode's HTTP port."""

    def _open(self) -> Any:
        need("requests", "remote")
        host, _, port = self._host.rpartition(":") if self._has_port() else (self._host, "", "")
        files = need("fsspec", "remote").filesystem(
            "webhdfs",
            host=host,
            port=int(port or (9871 if self._config.hdfs_https else 9870)),
            user=self._config.hdfs_user,
            use_https=self._config.hdfs_https,
            skip_instance_cache=True,
        )
        # requests waits for ever unless told; fsspec does not tell it.
        files.session.request = _WithTimeout(files.session.request, self._config.timeout_s)
        files.session.hooks["response"].append(_raise_refusal)
        return files

    def _fetch(self, place: str, name: str, start: int, size: int | None) -> Piece:
        total = self._size(place, name) if size is None else start + size
        wanted = total - start
        if not wanted:
            return Piece(b"", total)
        try:
            content = self._get(place, name, start, wanted)
        except _BeyondError:
            content = b""
        if size is not None and len(content) != wanted:
            total = self._size(place, name)
        return Piece(content, total)

    def _get(self, place: str, name: str, start: int, size: int) -> bytes:
        """A piece, from the datanode that the namenode names.

        Not by fsspec's own file: it takes a datanode's error page for content.
        """
        requests, files = need("requests", "remote"), self._files()
        query = {"op": "OPEN", "offset": start, "length": size, **files.pars}
        pieces: list[bytes] = []
        with (
            self._native_errors(place),
            files.session.get(self._link(name), params=query, stream=True) as answer,
        ):
            answer.raise_for_status()
            try:
                pieces.extend(answer.iter_content(CHUNK))
            except requests.RequestException as error:
                reason = f"the answer was cut off ({type(error).__name__})"
                raise TryAgainError(reason, answer.raw.tell(), size) from error
        return b"".join(pieces)

    def _size(self, place: str, name: str) -> int:
        files = self._files()
        with self._native_errors(place):
            found = files.info(self._path(name))
        if found["type"] != "file":
            raise DataError(f"{place}: is a folder; name a file")
        return int(found["size"])

    def _list(self, place: str, folder: str) -> list[tuple[str, bool]]:
        files = self._files()
        with self._native_errors(place):
            found = files.ls(self._path(folder).rstrip("/") or "/", detail=True)
        if any(not entry["pathSuffix"] for entry in found):
            raise DataError(f"{place}: is a file; name a folder")
        return [(entry["pathSuffix"], entry["type"] == "directory") for entry in found]

    def _store(self, place: str, name: str, content: bytes) -> None:
        files = self._files()
        query = {"op": "CREATE", "overwrite": "true", **files.pars}
        with self._native_errors(place):
            named = files.session.put(self._link(name), params=query, allow_redirects=False)
            named.raise_for_status()
            if "Location" not in named.headers:
                raise DataError(f"{place}: the namenode names no datanode; is it WebHDFS?")
            files.session.put(
                named.headers["Location"],
                data=content,
                headers={"Content-Type": "application/octet-stream"},
            ).raise_for_status()

    def _has_port(self) -> bool:
        return ":" in self._host.rpartition("]")[2]

    def _path(self, name: str) -> str:
        return f"/{self._folder}/{name}" if self._folder else f"/{name}"

    def _link(self, name: str) -> str:
        return f"{self._files().url}{quote(self._path(name))}"

    @contextmanager
    def _native_errors(self, place: str) -> Iterator[None]:
        requests = need("requests", "remote")
        try:
            yield
        except _HdfsRefusedError as error:
            raise error.meaning(place) from None
        except requests.HTTPError as error:
            raise refusal(place, error.response.status_code, error.response.reason) from None
        except (requests.RequestException, OSError) as error:
            failure = self._no_answer(error)
            asked = getattr(error.request, "url", None) if hasattr(error, "request") else None
            if asked is not None and not asked.startswith(self._files().url):
                failure.reason += (
                    "; the namenode sends readers on to its datanodes: their names and ports must "
                    "be reachable from here"
                )
            raise failure from error


class _BeyondError(Exception):
    """HDFS says that the file ends before the piece asked for."""


class _HdfsRefusedError(Exception):
    """A namenode or datanode answered with an error."""

    def __init__(self, status: int, exception: str, text: str) -> None:
        super().__init__(f"{status} {exception}: {text}")
        self.status, self.exception, self.text = status, exception, text

    def meaning(self, place: str) -> Exception:
        if "out of the range" in self.text:
            return _BeyondError(place)
        if self.exception in _PASSING:
            return TryAgainError(f"the server answered {self}")
        return refusal(place, self.status, f"{self.exception}: {self.text}".removesuffix(": "))


def _raise_refusal(answer: Any, **_unused: object) -> None:
    """Hook on each answer of a namenode or datanode; 401 is left to the authentication."""
    if answer.status_code < 400 or answer.status_code == 401:
        return
    exception, text = answer.reason or "", ""
    with suppress(ValueError, KeyError, TypeError):
        said = answer.json()["RemoteException"]
        # A datanode puts the whole Java stack in its message.
        exception, text = str(said["exception"]), str(said["message"]).partition("\n")[0]
    raise _HdfsRefusedError(answer.status_code, exception, text)


@dataclass(frozen=True)
class _WithTimeout:
    """A session's ``request`` that waits no longer than this, s."""

    request: Callable[..., Any]
    timeout_s: float

    def __call__(self, method: str, url: str, **options: Any) -> Any:
        return self.request(method, url, timeout=self.timeout_s, **options)
