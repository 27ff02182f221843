"""One small dataset and one real Dask cluster of two worker processes for all tests of training."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from armillary import datasets
from distributed import Client, LocalCluster
from sklearn.datasets import load_digits


@pytest.fixture(scope="session")
def training_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("training")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARMILLARY_DATASETS", str(folder / "datasets"))
        patch.setenv("ARMILLARY_RUNS", str(folder / "runs"))
        patch.setenv("ARMILLARY_TRACKING", "off")
        yield


@pytest.fixture(scope="session")
def digits(training_folders):
    """485 digits: not a multiple of any batch size, so the last batch is uneven."""
    pictures, labels = load_digits(return_X_y=True)
    images = (pictures.reshape(-1, 8, 8) * 15).astype("uint8")
    return datasets.import_arrays(images[:605], labels[:605], name="digits")


@pytest.fixture(scope="session")
def dask_cluster(training_folders) -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture
def client(dask_cluster) -> Iterator[Client]:
    with Client(dask_cluster) as client:
        client.wait_for_workers(2, timeout=30)
        yield client
