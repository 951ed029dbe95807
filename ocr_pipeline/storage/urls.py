"""URLs, the names below them, and patterns of names."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from urllib.parse import unquote

from ocr_pipeline.errors import DataError

_REMOTE = ("s3", "webhdfs", "http", "https")
_ALLOWED = "a path, file://, s3://, webhdfs://, http://, https:// or lmdb://"


def is_remote(url: str) -> bool:
    """Whether a path or URL is of another machine.

    Raises:
        DataError: see :func:`protocol_of`.
    """
    return protocol_of(url) in _REMOTE


def split_url(url: str) -> tuple[str, str]:
    """Folder and file name of a path or URL; ``open_root(folder).read(name)`` reads the file.

    Of ``http(s)://`` and ``file://`` the name is percent-decoded; elsewhere ``%`` means itself.

    Raises:
        DataError: it names no file, or see :func:`protocol_of`.
    """
    protocol = protocol_of(url)
    if protocol in ("", "file"):
        folder, slash, name = local_path(url).rpartition("/")
        folder = (folder or "/") if slash else "."
    else:
        folder, _, name = url.rpartition("/")
        if protocol in ("http", "https"):
            name = unquote(name)
    if not name or folder.endswith(":/"):
        raise DataError(f"{url}: names no file; give its whole path")
    return folder, name


def protocol_of(url: str) -> str:
    """Protocol of a URL, "" of a path.

    Raises:
        DataError: not one that is read, a password in the URL, or (HTTP) a query.
    """
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)", url)
    if found is None:
        return ""
    protocol, host = found[1].lower(), found[2]
    if protocol == "hdfs":
        raise DataError(
            "hdfs://: Hadoop's own protocol is not spoken here; write "
            "webhdfs://NAMENODE:PORT/path with the namenode's HTTP port (9870; Hadoop 2: 50070)"
        )
    if protocol not in (*_REMOTE, "file", "lmdb"):
        raise DataError(f"{protocol}://: not a protocol that is read; allowed are {_ALLOWED}")
    if protocol in _REMOTE:
        _check_host(protocol, host)
    if protocol in ("http", "https") and re.search("[?#]", url):
        raise DataError(
            f"{re.split('[?#]', url)[0]}: a URL with '?' or '#' is not read; name the file by its "
            "path alone (in a name, write %3F and %23)"
        )
    return protocol


def _check_host(protocol: str, host: str) -> None:
    """No message shows the host: a password may stand in it."""
    if "@" in host:
        raise DataError(
            f"{protocol}://...@: no user or password in a URL; they come from the environment: "
            "AWS_ACCESS_KEY_ID or ~/.aws (S3), storage.hdfs_user (WebHDFS), ~/.netrc (HTTP)"
        )
    if protocol == "s3":
        if not host or (":" in host and not host.startswith("arn:")):
            raise DataError(
                "s3://: expected s3://BUCKET/path; a server goes in storage.s3_endpoint"
            )
    elif not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(:[0-9]+)?", host):
        raise DataError(f"{protocol}://: expected {protocol}://HOST:PORT/path, PORT a number")


def local_path(url: str) -> str:
    """Path of a ``file://`` URL; a path as it is."""
    if protocol_of(url) != "file":
        return url
    host, slash, path = url.partition("://")[2].partition("/")
    if host not in ("", "localhost") or not slash:
        raise DataError(f"{url}: expected file:///PATH, a path on this machine")
    return unquote(f"/{path}")


def host_and_folder(url: str) -> tuple[str, str]:
    """Host (S3: bucket) and path of a URL; the path has no slash at either end."""
    host, _, path = url.partition("://")[2].partition("/")
    path = path.strip("/")
    if ".." in path.split("/"):
        raise DataError(f"{url}: no '..' in a URL; write the folder itself")
    return host, path


def checked_name(url: str, name: str) -> str:
    """A name that stays in its root; parts that are ``.`` are taken out.

    Raises:
        DataError: empty, absolute, with ``..`` or a zero byte.
    """
    parts = [part for part in name.split("/") if part != "."]
    if name.startswith("/") or ".." in parts or "\0" in name or not any(parts):
        raise DataError(
            f"{name!r}: no name of a file in {url}; names are relative and do not lead out of it"
        )
    return "/".join(parts)


def check_range(place: str, start: int, size: int | None) -> None:
    """Raise a DataError for a range that starts or ends before the file."""
    if start < 0 or (size is not None and size < 0):
        raise DataError(f"{place}: start={start}, size={size}; neither may be below 0")


def too_short(place: str, start: int, size: int | None, total: int) -> DataError:
    """The error for a range that ends behind the file."""
    wanted = "the rest" if size is None else f"{size} bytes"
    return DataError(
        f"{place}: has {total} bytes, asked for {wanted} from byte {start} on; it is not the file "
        "that was listed: make the list or index again"
    )


def fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a name fit those of a pattern."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(fits(parts[skip:], pattern[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and fits(parts[1:], pattern[1:])


def walk(
    entries: Callable[[str], Iterable[tuple[str, bool]]], pattern: Sequence[str], folder: str = ""
) -> Iterator[str]:
    """Yield the files below a folder that fit a pattern, by name.

    Args:
        entries: (name, is a folder) of what stands in a folder, which is "" or ends with ``/``.
        pattern: its parts.
        folder: where to start.
    """
    # With its slash a folder sorts where the names below it belong: 'a.b' < 'a/b' < 'a0'.
    for entry, is_folder in sorted(entries(folder), key=lambda e: e[0] + "/" * e[1]):
        name = f"{folder}{entry}"
        if not is_folder:
            if fits(name.split("/"), pattern):
                yield name
        elif _may_hold(name.split("/"), pattern):
            yield from walk(entries, pattern, f"{name}/")


def _may_hold(folder: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether files below a folder can fit a pattern."""
    for part, wanted in zip(folder, pattern, strict=False):
        if wanted == "**":
            return True
        if not fnmatchcase(part, wanted):
            return False
    return len(folder) < len(pattern)
