"""IDX and NumPy files, whole and damaged."""

import gzip
import struct
import zipfile

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets.importing.number_files import read_idx
from armillary.errors import DatasetError


def idx(array):
    kinds = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, kinds[array.dtype.name], array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_idx_file_of_each_type(tmp_path, dtype, pack):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    (tmp_path / "x").write_bytes(pack(idx(array)))
    np.testing.assert_array_equal(read_idx(tmp_path / "x"), array)
    assert read_idx(tmp_path / "x").dtype == dtype


GOOD = idx(np.zeros((2, 3), np.uint8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x is no IDX file"),
        (b"hello world", "x is no IDX file"),
        (GOOD[:6], "not of the length"),
        (GOOD[:-1], "not of the length that it says: 6 bytes"),
        (GOOD + b"1", "not of the length that it says: 6 bytes"),
        (gzip.compress(GOOD, mtime=0)[:-9], "x cannot be read"),
        (struct.pack(">BBBB2I", 0, 0, 8, 2, 2**31, 2**31), "bytes; the limit is 17,179,869,184"),
        (gzip.compress(GOOD + bytes(10_000_000), mtime=0), "not of the length"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, content, message):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_idx(tmp_path / "x")


def test_an_npz_file(store, tmp_path, few_digits):
    np.savez_compressed(tmp_path / "digits.npz", x=few_digits[0], y=few_digits[1])
    ds = datasets.import_numpy(tmp_path / "digits.npz", "digits", licence="CC0")
    np.testing.assert_array_equal(ds.arrays(None)[0][..., 0], few_digits[0])
    assert (ds.manifest.source, ds.manifest.licence) == (str(tmp_path / "digits.npz"), "CC0")
    with pytest.raises(DatasetError, match=r"digits.npz has no array 'images'; arrays: 'x', 'y'"):
        datasets.import_numpy(tmp_path / "digits.npz", "digits", x="images")
    with pytest.raises(DatasetError, match=r"digits.npz unpacks to .* bytes; the limit is 1,000"):
        datasets.import_numpy(tmp_path / "digits.npz", "digits", max_bytes=1000)


def test_a_single_array_is_told_to_lack_its_classes(store, tmp_path):
    """The file was called damaged."""
    np.save(tmp_path / "a.npy", np.zeros((4, 2)))
    for look in (lambda path: datasets.import_numpy(path, "n"), datasets.preview):
        with pytest.raises(
            DatasetError, match=r"a.npy has one array: .* Give an .npz file with both, or import_arrays"
        ):
            look(tmp_path / "a.npy")


def test_python_objects_in_a_numpy_file_are_refused(store, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.array([{}], object), y=np.zeros(1))
    with pytest.raises(DatasetError, match=r"x.npz cannot be read: Object arrays cannot be loaded"):
        datasets.import_numpy(tmp_path / "x.npz", "x")
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"x.npz cannot be read: File is not a zip file"):
        datasets.import_numpy(tmp_path / "x.npz", "x")
    assert not store.exists()


def test_a_numpy_file_whose_header_says_more_than_memory_holds_is_refused(store, tmp_path):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({10**15},)}}".ljust(117) + "\n"
    array = np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header.encode()
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", array)
        archive.writestr("y.npy", array)
    with pytest.raises(DatasetError, match=r"x.npz cannot be read: Unable to allocate"):
        datasets.import_numpy(tmp_path / "x.npz", "x")
