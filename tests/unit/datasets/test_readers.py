"""Readers: every example exactly once, the same steps everywhere, the same values in both frameworks."""

import numpy as np
import pytest
from armillary.datasets.readers import Batches, shard_rows
from armillary.errors import DatasetError
from hypothesis import given, settings
from hypothesis import strategies as st


class CountingDataset:
    """A split of ``size`` examples whose raw value is their row."""

    class Spec:
        @staticmethod
        def prepare(raw, layout):
            return raw

    class Raw:
        @staticmethod
        def take(rows):
            return rows

    input_spec = Spec()
    raw_examples = Raw()

    def __init__(self, size):
        self.size = size

    def rows(self, split):
        return np.arange(self.size) * 3

    def labels(self, split):
        return np.arange(self.size * 3)


def batches(size, batch_size, **options):
    return Batches(CountingDataset(size), "train", batch_size, lambda values: values, "channels_last", **options)


@settings(max_examples=200, deadline=None)
@given(
    size=st.integers(0, 150),
    batch_size=st.integers(1, 40),
    world_size=st.integers(1, 8),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 3),
    shuffle=st.booleans(),
)
def test_ranks_together_are_one_process_with_a_larger_batch(size, batch_size, world_size, seed, epoch, shuffle):
    options = {"seed": seed, "epoch": epoch, "shuffle": shuffle}
    ranks = [
        [x.tolist() for x, _ in batches(size, batch_size, rank=rank, world_size=world_size, **options)]
        for rank in range(world_size)
    ]
    single = [x.tolist() for x, _ in batches(size, batch_size * world_size, **options)]
    assert {len(steps) for steps in ranks} == {len(single)}
    for step, together in enumerate(single):
        assert sorted(together) == sorted(row for rank in ranks for row in rank[step])
    assert sorted(row for rank in ranks for step in rank for row in step) == [3 * index for index in range(size)]


def test_epochs_differ_and_repeat():
    rows = np.arange(100)
    first, second = shard_rows(rows, epoch=0), shard_rows(rows, epoch=1)
    assert first.tolist() != second.tolist()
    assert first.tolist() == shard_rows(rows, epoch=0).tolist()
    assert shard_rows(rows, seed=1).tolist() != first.tolist()


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"rank": 2, "world_size": 2}, {"rank": -1}])
def test_impossible_shares_are_refused(options):
    with pytest.raises(DatasetError):
        batches(10, **{"batch_size": 4, **options})


def test_torch_and_tensorflow_give_the_same_values(digits):
    torch = pytest.importorskip("torch")
    tf = pytest.importorskip("tensorflow")
    pictures, labels = digits.arrays(None)
    reader = digits.to_torch("train", batch_size=40, rank=1, world_size=2, seed=3)
    twin = digits.to_tensorflow("train", batch_size=40, rank=1, world_size=2, seed=3)
    assert len(reader) == len(twin) == 2
    seen = []
    for (x, y), (x_tf, y_tf) in zip(reader, twin, strict=True):
        assert (x.dtype, y.dtype, x_tf.dtype, y_tf.dtype) == (torch.float32, torch.int64, tf.float32, tf.int64)
        assert tuple(x.shape[1:]) == (1, 28, 28)
        np.testing.assert_array_equal(x.numpy().transpose(0, 2, 3, 1), x_tf.numpy())
        np.testing.assert_array_equal(y.numpy(), y_tf.numpy())
        seen.append(x_tf.numpy())
    rows = reader.rows
    np.testing.assert_allclose(np.concatenate(seen), pictures[rows] / 255, rtol=1e-6)
    assert (labels[rows] == digits.labels(None)[rows]).all()


def test_pictures_too_many_to_keep_decoded_are_decoded_on_demand(digits, monkeypatch):
    from armillary.datasets import examples

    expected = digits.arrays("test")[0]
    examples.load_examples.cache_clear()
    monkeypatch.setattr(examples, "DECODED_LIMIT", 0)
    assert isinstance(digits.raw_examples, examples.EncodedPictures)
    np.testing.assert_array_equal(digits.arrays("test")[0], expected)
    examples.load_examples.cache_clear()
