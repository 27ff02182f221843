"""The training panel without a browser: what it offers, and how it refuses."""

import numpy as np
import pytest
from armillary import datasets, training


@pytest.fixture
def flowers(tmp_path, monkeypatch):
    """A store with one dataset in two versions."""
    monkeypatch.setenv("ARMILLARY_DATASETS", str(tmp_path / "datasets"))
    pictures = np.random.default_rng(0).integers(0, 255, (20, 4, 4), np.uint8)
    return datasets.import_arrays(pictures, [0, 1] * 10, name="flowers", split=None).split(0.8, 0.1, 0.1)


def test_it_offers_the_newest_versions_and_the_one_asked_for(flowers):
    assert training.panel().dataset.value == "flowers@2"
    assert training.panel("flowers").dataset.value == "flowers@2"
    older = training.panel("flowers@1").dataset
    assert (older.value, older.options) == ("flowers@1", ("flowers@2", "flowers@1"))


def test_it_refuses_in_the_persons_language(flowers, monkeypatch):
    monkeypatch.setenv("ARMILLARY_LANGUAGE", "zh")
    panel = training.panel()
    panel.batch_size.value = 63
    panel.start.click()
    assert "fit() 无法开始：batch_size 63 无法平分给 2 个工作进程，请用 62 或 64。" in panel.message.value
    assert not panel.start.disabled
