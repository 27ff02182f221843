"""Fixtures that every room's tests may use: real deployments, started once for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.deployment import Deployment, deploy, is_root


@pytest.fixture(scope="session")
def deployment() -> Iterator[Deployment]:
    """A solo deployment with two pretend GPUs, run by an ordinary account."""
    with deploy(simulate_gpus=2) as running:
        yield running


@pytest.fixture(scope="session")
def team_deployment() -> Iterator[Deployment]:
    """A team deployment: each person has a Unix account of their own. Needs root."""
    if not is_root():
        pytest.skip("needs root, for it makes Unix accounts")
    with deploy("team", simulate_gpus=2) as running:
        yield running


@pytest.fixture(scope="session")
def usual_deployment(request: pytest.FixtureRequest) -> Deployment:
    """The deployment as this account would really run it: a team's for root, solo for others."""
    return request.getfixturevalue("team_deployment" if is_root() else "deployment")
