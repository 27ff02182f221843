"""Fixtures that every room's tests may use: real deployments, started once a session. And a rule for GPUs."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.deployment import Deployment, deploy, is_root

#: Whether this machine has an NVIDIA GPU that can be used: then tests marked ``gpu`` run, and may not be skipped.
HAS_GPU = any(Path("/dev").glob("nvidia[0-9]*"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    for item in items:
        if item.get_closest_marker("gpu") and not HAS_GPU:
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU, and there is no /dev/nvidia0 here"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each of pytest's processes whole files, those that share a deployment or make Unix accounts together."""
    from support.sharing_out import ByWhatTheyShare

    return ByWhatTheyShare(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let what needs a GPU fail where there is one and it was skipped all the same."""
    report = yield
    if report.skipped and HAS_GPU and item.get_closest_marker("gpu"):
        report.outcome, report.longrepr = "failed", f"may not be skipped where there is a GPU: {report.longrepr}"
    return report


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
    with deploy("team", simulate_gpus=2, config="c.GpuSharing.app_idle_after = 0.5") as running:
        yield running


@pytest.fixture(scope="session")
def usual_deployment(request: pytest.FixtureRequest) -> Deployment:
    """The deployment as this account would really run it: a team's for root, solo for others."""
    return request.getfixturevalue("team_deployment" if is_root() else "deployment")
