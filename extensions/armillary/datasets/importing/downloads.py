"""Files behind a URL as files of this machine, for as long as an import reads them.

``http://`` and ``https://`` are fetched by httpx, everything else (``s3://``, ``gs://`` and so on) by the fsspec
library for it, a folder with all that lies below. What is larger than allowed is refused, before it is fetched where
its size is known. Secrets that stand in a URL (a password, a signature in its query) are kept out of errors and
manifests.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any
from urllib.parse import unquote

import httpx
from armillary_kernels.texts import translator

from armillary.datasets.importing.archive_check import MAX_MEMBERS
from armillary.datasets.places import place_of
from armillary.errors import DatasetError

_ = translator(__file__)

MAX_DOWNLOAD_BYTES = 64 * 2**30
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_BLOCK = 2**20
_LONGEST_NAME = 200  # bytes
#: Seconds without an answer or a byte.
_CONNECT, _READ = 15.0, 60.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Local:
    """A file or folder of this machine, and where it came from in words for the manifest."""

    path: Path
    source: str


class FetchedPath(PosixPath):
    """A file that was fetched before its import: ``source`` says where it came from."""

    source: str


@contextmanager
def local_copy(
    address: str | Path, max_bytes: int = MAX_DOWNLOAD_BYTES, progress: Progress | None = None
) -> Iterator[Local]:
    """Give what is at a path or URL; what is fetched is removed at the end.

    Parameters
    ----------
    address
        A path, which is given as it is, or a URL.
    max_bytes
        Limit of what is fetched.
    progress
        Called with the number of bytes fetched and of all, 0 when that is not known.

    Raises
    ------
    DatasetError
        When it cannot be reached, is not there, is larger than allowed, or comes incomplete.
    """
    if isinstance(address, FetchedPath):
        yield Local(address, address.source)
        return
    text = str(address)
    if not (isinstance(address, str) and _URL.match(text)):
        yield Local(Path(text).expanduser(), str(Path(text).expanduser()))
        return
    if text.lower().startswith("file://"):
        path = Path(unquote(text[len("file://") :].removeprefix("localhost"))).expanduser()
        yield Local(path, str(path))
        return
    with tempfile.TemporaryDirectory(prefix="armillary-download-", ignore_cleanup_errors=True) as folder:
        counter = _Counter(shown(text), max_bytes, progress)
        if text.lower().startswith(("http://", "https://")):
            path = _over_http(text, Path(folder), counter)
        else:
            path = _from_store(text, Path(folder), counter)
        yield Local(path, counter.url)


@contextmanager
def fetched(url: str, progress: Progress | None = None) -> Iterator[FetchedPath]:
    """Give what is at a URL for several looks and an import; parameters and errors as of `local_copy`."""
    with local_copy(url, progress=progress) as local:
        path = FetchedPath(local.path)
        path.source = local.source
        yield path


def shown(url: str) -> str:
    """Return a URL without what may be secret: user, password, query."""
    scheme, _mark, rest = url.partition("://")
    host, slash, path = re.split(r"[?#]", rest)[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


class _Counter:
    """Counts the bytes of a download, and writes them."""

    def __init__(self, url: str, max_bytes: int, progress: Progress | None) -> None:
        self.url = url
        self._max_bytes = max_bytes
        self._progress = progress
        self._total = self._done = 0

    def expect(self, size: int) -> None:
        """Refuse a size that is said beforehand."""
        self._total = size
        self._check(size)

    def write(self, blocks: Iterable[bytes], path: Path) -> None:
        """Write the blocks of a file."""
        with _stored(self.url):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("xb")
        with file:
            for block in blocks:
                self._done += len(block)
                self._check(self._done)
                with _stored(self.url):
                    file.write(block)
                    file.flush()
                if self._progress:
                    self._progress(self._done, self._total)

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            what = _("{url} has more than the allowed {limit:,} bytes.", url=self.url, limit=self._max_bytes)
            raise DatasetError(what, _("Raise max_download_bytes if it is meant to be this large."))


@contextmanager
def _stored(url: str) -> Iterator[None]:
    """Say in words why a download cannot be written."""
    try:
        yield
    except OSError as error:
        folder, reason = tempfile.gettempdir(), error.strerror
        what = _("{url} cannot be stored in {folder}: {reason}.", url=url, folder=folder, reason=reason)
        raise DatasetError(what, _("Free space or set TMPDIR to another disk.")) from error


# HTTP -------------------------------------------------------------------------------------------------------


def _over_http(url: str, folder: Path, counter: _Counter) -> Path:
    timeout = httpx.Timeout(_READ, connect=_CONNECT)
    # Unpacked on the way, a .csv.gz would no longer be what its name says.
    asked = {"Accept-Encoding": "identity"}
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=timeout, headers=asked) as response:
            _check_answer(response, counter.url)
            path = folder / _file_name(response)
            if (length := response.headers.get("Content-Length", "")).isdigit():
                counter.expect(int(length))
            packed = path.suffix.lower() in (".gz", ".tgz")
            counter.write(response.iter_raw(_BLOCK) if packed else response.iter_bytes(_BLOCK), path)
            return path
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = str(error) or type(error).__name__
        what = _("{url} cannot be fetched: {reason}.", url=counter.url, reason=reason)
        raise DatasetError(what, _("Check the address and the connection, then try again.")) from error


def _check_answer(response: httpx.Response, url: str) -> None:
    if not response.is_success:
        status = f"{response.status_code} {response.reason_phrase}".strip()
        remedy = (
            _("Check the address; a private file needs an address that lets you in.")
            if response.status_code < 500
            else _("Try again later.")
        )
        raise DatasetError(_("{url} answers {status}.", url=url, status=status), remedy)
    if response.headers.get("Content-Type", "").startswith("text/html"):
        what = _("{url} is a web page, not a file.", url=url)
        raise DatasetError(what, _("Give the address of the file itself; some need you to sign in first."))


def _file_name(response: httpx.Response) -> str:
    """Return the last part of the address, or what the server calls the file when that has no ending."""
    name = _last_part(unquote(response.url.path))
    said = re.search(r"filename=\"?([^\";]+)", response.headers.get("Content-Disposition", ""))
    if not PurePosixPath(name).suffix and said:
        name = _last_part(said[1])
    return name or "download"


def _last_part(path: str) -> str:
    name = path.replace("\\", "/").rstrip("/").rpartition("/")[2].replace("\0", "")
    return "" if name in (".", "..") else name.encode("utf-8", "replace")[-_LONGEST_NAME:].decode("utf-8", "ignore")


# Other stores -----------------------------------------------------------------------------------------------


def _from_store(url: str, folder: Path, counter: _Counter) -> Path:
    try:
        remote: Any = place_of(url)
        files, path = _listed(remote, folder)
        if not files:
            raise DatasetError(_("There is nothing at {url}.", url=counter.url), _("Check the address."))
        counter.expect(sum(size for _source, _destination, size in files))
        for source, destination, _size in files:
            with remote.fs.open(source, "rb") as opened:
                counter.write(iter(lambda opened=opened: opened.read(_BLOCK), b""), destination)  # type: ignore[misc]
        return path
    except DatasetError as error:
        raise DatasetError(_without_secrets(error.what, url), error.remedy) from None
    except Exception as error:  # each store's library raises its own kinds
        said = str(error) or type(error).__name__
        reason = _without_secrets(said, url)
        what = _("{url} cannot be fetched: {reason}.", url=counter.url, reason=reason)
        remedy = _("Check the address, the connection and your credentials for it.")
        raise DatasetError(what, remedy) from (error if reason == said else None)


def _without_secrets(text: str, url: str) -> str:
    """Return what a library says of a URL without what may be secret in it."""
    text = text.replace(url, shown(url))
    user = url.partition("://")[2].rpartition("@")[0]
    return text.replace(user, "***") if user else text


def _listed(remote: Any, folder: Path) -> tuple[list[tuple[str, Path, int]], Path]:
    """Return the files at an address, each with its place here and its size, and the place of all of them."""
    top = folder / (_last_part(remote.path) or "download")
    if remote.fs.isfile(remote.path):
        return [(remote.path, top, int(remote.fs.info(remote.path).get("size") or 0))], top
    found = remote.fs.find(remote.path, detail=True)
    if len(found) > MAX_MEMBERS:
        limit = _("{url} has more than the allowed {limit:,} files.", url=shown(str(remote)), limit=MAX_MEMBERS)
        raise DatasetError(limit, _("Import a part of it."))
    root = remote.fs._strip_protocol(remote.path).rstrip("/")
    return [
        (path, top / _inside(path.removeprefix(root).lstrip("/"), shown(str(remote))), int(info.get("size") or 0))
        for path, info in sorted(found.items())
    ], top


def _inside(name: str, url: str) -> str:
    if not name or "\0" in name or ".." in PurePosixPath(name).parts:
        what = _("{url} is refused: in {file!r}, the path leads out of the folder.", url=url, file=name)
        raise DatasetError(what, _("Rename it there."))
    return name
