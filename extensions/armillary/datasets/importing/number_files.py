"""Import of images and tables from NumPy's .npz files, and from IDX files such as MNIST's."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.dataset import Dataset
from armillary.datasets.importing.arrays import import_arrays
from armillary.datasets.importing.downloads import MAX_DOWNLOAD_BYTES, local_copy
from armillary.errors import DatasetError

_ = translator(__file__)

MAX_BYTES = 16 * 2**30
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_BLOCK = 2**24
#: How an .npy file begins.
_SINGLE = b"\x93NUMPY"
#: What zipfile and NumPy raise for a damaged, an encrypted or an odd archive.
_DAMAGED = (OSError, EOFError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile)


def read_idx(path: str | Path, max_bytes: int = MAX_BYTES) -> NDArray[Any]:
    """Return the array of an IDX file, perhaps compressed by gzip.

    Raises
    ------
    DatasetError
        When the file is no IDX file, is cut or has more in it than it says.

    References
    ----------
    Y. LeCun, C. Cortes: The MNIST database, "The IDX file format".
    """
    path = Path(path).expanduser()
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            return _idx_array(file, path.name, max_bytes)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error


def _idx_array(file: Any, name: str, max_bytes: int) -> NDArray[Any]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_TYPES:
        raise DatasetError(_("{file} is no IDX file.", file=name), _("Check which file it is."))
    dtype = np.dtype(_IDX_TYPES[head[2]])
    sizes = file.read(4 * head[3])
    shape = tuple(np.frombuffer(sizes, ">u4").tolist()) if len(sizes) == 4 * head[3] else ()
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > max_bytes:
        what = _("{file} says that it has {n:,} bytes; the limit is {limit:,}.", file=name, n=wanted, limit=max_bytes)
        raise DatasetError(what, _("Raise max_bytes if you trust it."))
    data = _exactly(file, wanted)
    if len(data) != wanted or len(shape) != head[3] or not shape:
        what = _("{file} is not of the length that it says: {n:,} bytes.", file=name, n=wanted)
        raise DatasetError(what, _("Get the whole file again."))
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _exactly(file: Any, wanted: int) -> bytearray:
    """Return so many bytes: fewer when the file is cut, one more when it goes on."""
    data = bytearray()
    while len(data) <= wanted and (block := file.read(min(_BLOCK, wanted + 1 - len(data)))):
        data += block
    return data


def import_idx(
    images: str | Path,
    labels: str | Path,
    name: str,
    *,
    max_download_bytes: int = MAX_DOWNLOAD_BYTES,
    **options: Any,
) -> Dataset:
    """Save a pair of IDX files, images ``(n, height, width)`` and labels ``(n,)``, as a dataset.

    Each is a path or URL. ``options`` are those of `import_arrays`; errors as of `read_idx` and `import_arrays`.
    """
    limit, progress = max_download_bytes, options.get("progress")
    with local_copy(images, limit, progress) as first, local_copy(labels, limit, progress) as second:
        x, y = read_idx(first.path), read_idx(second.path)
    return import_arrays(x, y, name, **{"source": first.source, **options})


def import_numpy(
    path: str | Path,
    name: str,
    *,
    x: str = "x",
    y: str = "y",
    max_bytes: int = MAX_BYTES,
    max_download_bytes: int = MAX_DOWNLOAD_BYTES,
    **options: Any,
) -> Dataset:
    """Save the arrays ``x`` and ``y`` of an .npz file as a dataset.

    Parameters
    ----------
    path
        The file, or its URL.
    x, y
        The names of the arrays with the examples and the classes, as `import_arrays` takes them.
    max_bytes, max_download_bytes
        Limits of what the file unpacks to and of what a URL brings.
    options
        Those of `import_arrays`.

    Raises
    ------
    DatasetError
        When the file is damaged, too large, an .npy file of one array, lacks an array, or holds Python objects, which
        would be code to run.
    """
    with local_copy(path, max_download_bytes, options.get("progress")) as local:
        arrays = read_arrays(local.path, (x, y), max_bytes)
    return import_arrays(*arrays, name, **{"source": local.source, **options})


def array_names(path: Path) -> tuple[str, ...]:
    """Return the names of the arrays of an .npz file; raises DatasetError when it is damaged."""
    _refuse_single_array(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = tuple(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))
    except (OSError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    if not names:
        raise _unreadable(path, ValueError(_("it has no arrays")))
    return names


def read_arrays(path: Path, names: tuple[str, str], max_bytes: int = MAX_BYTES) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return two arrays of an .npz file; errors as of `import_numpy`."""
    _refuse_single_array(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > max_bytes:
            what = _("{file} unpacks to {n:,} bytes; the limit is {limit:,}.", file=path.name, n=size, limit=max_bytes)
            raise DatasetError(what, _("Raise max_bytes if you trust it."))
        with np.load(path, allow_pickle=False) as arrays:
            missing = [key for key in names if key not in arrays]
            if missing:
                listed = ", ".join(map(repr, arrays))
                what = _(
                    "{file} has no array {name!r}; arrays: {listed}.", file=path.name, name=missing[0], listed=listed
                )
                raise DatasetError(what, _("Name them with x and y."))
            return arrays[names[0]], arrays[names[1]]
    except (*_DAMAGED, MemoryError) as error:  # a header may say that there is more than any memory holds
        raise _unreadable(path, error) from error


def _refuse_single_array(path: Path) -> None:
    try:
        with path.open("rb") as file:
            single = file.read(len(_SINGLE)) == _SINGLE
    except OSError:  # which is told when the file is read
        return
    if single:
        raise DatasetError(
            _("{file} has one array: the examples or their classes, not both.", file=path.name),
            _("Give an .npz file with both, or {call}.", call="import_arrays(np.load(…), np.load(…), name)"),
        )


def _unreadable(path: Path, error: Exception) -> DatasetError:
    what = _("{file} cannot be read: {error}.", file=path.name, error=error)
    return DatasetError(what, _("Check the path, or get the file again."))
