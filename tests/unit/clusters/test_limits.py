"""The limits of a person: what is granted, and the sentences that refuse."""

import pytest
from armillary_hub.clusters.limits import (
    LimitReached,
    Limits,
    Usage,
    affordable_workers,
    check_new_cluster,
    check_workers,
)

GIB = 2**30
LIMITS = Limits(clusters=2, workers=8, memory=12 * GIB, worker_memory=4 * GIB, worker_threads=2)


@pytest.mark.parametrize(
    ("usage", "worker_memory", "expected"),
    [
        (Usage(), GIB, 8),
        (Usage(), 4 * GIB, 3),
        (Usage(1, 6, 6 * GIB), GIB, 2),
        (Usage(1, 3, 12 * GIB), GIB, 0),
        (Usage(1, 9, 9 * GIB), GIB, 0),
    ],
)
def test_affordable_workers(usage, worker_memory, expected):
    assert affordable_workers(LIMITS, usage, worker_memory) == expected


def test_what_fits_is_granted():
    check_new_cluster(LIMITS, Usage(1, 1, GIB), 4 * GIB, 2)
    check_workers(LIMITS, Usage(1, 6, 6 * GIB), GIB, 2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            (Usage(2, 2, GIB), GIB, 1),
            "You have 2 Dask clusters running, and 2 is the limit. Stop one of them first (its close button, or the "
            "Dask clusters page of the hub).",
        ),
        (
            (Usage(), 5 * GIB, 1),
            "A worker of 5 GiB is too large: one worker may have at most 4 GiB. Ask for less memory.",
        ),
        (
            (Usage(), 5000 * GIB, 1),
            "A worker of 5,000 GiB is too large: one worker may have at most 4 GiB. Ask for less memory.",
        ),
        (
            (Usage(), GIB // 8, 1),
            "A worker of 0.125 GiB is too small: it needs 0.25 GiB before its first task. Ask for more memory.",
        ),
        (
            (Usage(), GIB, 3),
            "A worker of 3 threads is too large: one worker may have at most 2. Ask for fewer threads.",
        ),
    ],
)
def test_a_cluster_beyond_the_limits(arguments, sentence):
    with pytest.raises(LimitReached) as refusal:
        check_new_cluster(LIMITS, *arguments)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("usage", "count", "sentence"),
    [
        (Usage(), 9, "9 workers are too many: you may have 8 in all. Ask for at most 8."),
        (
            Usage(1, 6, 6 * GIB),
            3,
            "3 workers are too many: you may have 8 in all, and your other clusters have 6. "
            "Ask for at most 2 or close another cluster.",
        ),
        (
            Usage(1, 2, 11 * GIB),
            2,
            "2 workers of 1 GiB need 2 GiB: your workers may have 12 GiB in all, and your other clusters have 11 GiB. "
            "Ask for at most 1 or close another cluster.",
        ),
    ],
)
def test_workers_beyond_the_limits(usage, count, sentence):
    with pytest.raises(LimitReached) as refusal:
        check_workers(LIMITS, usage, GIB, count)
    assert str(refusal.value) == sentence
