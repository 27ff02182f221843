"""Many people's kernels started at once through the hub all run, within the quotas and in fair order.

``benchmarks/gpu_pool.py`` does it with more of them, and measures.
"""

from collections import Counter

import httpx
import pytest
from support import patiently
from support.crowd import Crowd, Order, history
from support.deployment import wait_for

PEOPLE = ("ada", "ben", "eve")


@pytest.fixture
def admin(deployment):
    deployment.add_user("root-of-gpus", admin=True)
    return deployment.token("root-of-gpus")


def test_all_run_within_the_quotas_and_in_fair_order(deployment, admin):
    headers = {"Authorization": f"Bearer {admin}"}
    pool = f"{deployment.url}/services/gpu-pool"
    wait_for(lambda: not httpx.get(f"{pool}/", headers=headers).json()["leases"], 60, "no GPU is held")
    crowd = Crowd(deployment, PEOPLE, kernels=4)
    known = max((line["number"] for line in history(deployment, admin)), default=0)
    assert patiently.put(f"{pool}/quotas/default", headers=headers, json={"gpus": 1}).status_code == 200
    try:
        printed = crowd.run()
    finally:
        assert patiently.delete(f"{pool}/quotas/default", headers=headers).status_code == 204
    assert set(printed) <= {"0", "1"}
    order = Order(history(deployment, admin, known), gpus=2, quota=1)
    assert Counter(order.granted) == dict.fromkeys(PEOPLE, 4)
