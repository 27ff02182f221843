"""The order of an epoch: every example once, mixed through a buffer, the same for any number of ranks."""

import numpy as np
from armillary.datasets.reading.order import dealt, epoch_order
from hypothesis import given, settings
from hypothesis import strategies as st


@st.composite
def splits(draw):
    """Row groups of any sizes, and some of their rows."""
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=30))
    starts = np.cumsum([0, *sizes])
    chosen = np.random.default_rng(draw(st.integers(0, 99))).random(starts[-1]) < draw(
        st.sampled_from([0, 0.1, 0.8, 1])
    )
    return np.flatnonzero(chosen), starts[:-1]


@settings(max_examples=200, deadline=None)
@given(split=splits(), buffer=st.integers(1, 400), seed=st.integers(0, 5), epoch=st.integers(0, 3))
def test_each_row_comes_once_and_a_group_stays_no_longer_than_the_buffer(split, buffer, seed, epoch):
    rows, starts = split
    order = epoch_order(rows, starts, buffer, seed=seed, epoch=epoch)
    assert sorted(order) == rows.tolist()
    assert order.tolist() == epoch_order(rows, starts, buffer, seed=seed, epoch=epoch).tolist()
    groups = np.searchsorted(starts, order, side="right") - 1
    for group in np.unique(groups):
        uses = np.flatnonzero(groups == group)
        # Where a row lands differs from where chance would take it by the luck of its neighbours alone.
        assert uses[-1] - uses[0] < buffer + len(uses) + 6 * np.sqrt(buffer) + 6


@settings(max_examples=200, deadline=None)
@given(split=splits(), batch_size=st.integers(1, 40), world_size=st.integers(1, 8), buffer=st.integers(1, 400))
def test_ranks_together_are_one_process_with_a_larger_batch(split, batch_size, world_size, buffer):
    order = epoch_order(*split, buffer, seed=1, epoch=2)
    shares = [dealt(order, rank, world_size) for rank in range(world_size)]
    for step in range(-(-len(order) // (batch_size * world_size))):
        together = order[step * batch_size * world_size : (step + 1) * batch_size * world_size]
        parts = [share[step * batch_size : (step + 1) * batch_size] for share in shares]
        assert sorted(together) == sorted(np.concatenate(parts))


def test_epochs_and_seeds_differ():
    rows, starts = np.arange(1000), np.arange(0, 1000, 50)
    orders = [epoch_order(rows, starts, 200, seed=seed, epoch=epoch) for seed in range(3) for epoch in range(3)]
    assert len({order.tobytes() for order in orders}) == 9


def test_every_part_of_an_epoch_is_mixed_alike():
    """Rows sorted by class, as a folder of class folders gives them: each tenth of an epoch has nearly all classes."""
    rows, starts = np.arange(40_960), np.arange(0, 40_960, 256)
    order = epoch_order(rows, starts, 4096, seed=0, epoch=0)
    groups = [len(np.unique(part // 256)) for part in np.split(order, 10)]
    assert min(groups) >= 20
    classes = [len(np.unique(part // 4096)) for part in np.split(order, 10)]
    assert min(classes) >= 8
