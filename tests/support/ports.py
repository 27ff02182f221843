"""Ports for programs under test: free ones, which nothing else of the same tests takes, be it picked or used."""

from __future__ import annotations

import itertools
import os

from armillary_hub.checks import is_free

#: Where blocks of ten ports are looked for; ARMILLARY_TEST_PORTS moves it. Each of pytest's processes has its own.
FIRST_PORT = int(os.environ.get("ARMILLARY_TEST_PORTS", "23000")) + 1000 * int(
    os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
)

_BLOCKS = range(FIRST_PORT, FIRST_PORT + 900, 10)
_next_ones = itertools.cycle(_BLOCKS)


def free_port() -> int:
    """Return the first of ten free ports in a row, which are not given out again while there are others."""
    for first in itertools.islice(_next_ones, len(_BLOCKS)):
        if all(is_free(port) for port in range(first, first + 10)):
            return first
    raise AssertionError("No ten free ports in a row")
