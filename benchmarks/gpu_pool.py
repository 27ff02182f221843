"""The GPU pool: forty kernels at once, the time to a grant, and what a lease costs a kernel's start.

    python benchmarks/gpu_pool.py [--kernels 40] [--rounds 20] [--ended 100000]

1. With 4 pretend GPUs, 5 people start 40 kernels at once through a real hub, each runs a cell and ends. All must run,
   within a quota of 2 GPUs a person and in fair order; the pool's audit is replayed to see it.
2. The time of the pool's answer to an ask for a GPU that is free, over HTTP, sign-in included.
3. An ask and its end in books that are empty, in books with 100,000 leases that have ended, and with a queue as well,
   in which it waits. A pool without a hub.
4. From the start of a kernel to the end of its first cell: with a lease (our kernel, our provisioner), and the same
   without (IPython's kernel, Jupyter's provisioner). Rounds alternate, and the medians are compared.
5. kill -9 while every GPU is held: of the pool, until another one answers with the same leases; of a holder, until its
   lease has ended.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import httpx
from armillary_kernels.processes import Process

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from jupyter_client import AsyncKernelManager
from support.crowd import Crowd, Order, history
from support.deployment import deploy
from support.gpu_pool import PoolProcess, eventually
from support.person import sign_in

PEOPLE = ("ann", "ben", "cat", "dan", "eve")
GPUS, QUOTA = 4, 2


#: Asks in the queue.
QUEUE = 100

#: What a lease that has ended leaves in each table; its id and its user are filled in.
_PAST = (
    """INSERT INTO leases (id, "user", groups, purpose, label, wanted, state, step, pid, start_time, in_use, gpus,
         came_from, asked_at, released_at, reason)
       VALUES (?1, ?2, '[]', 'kernel', '', 1, 'released', '', 2, 1, 0, 0,
         '[]', '2026-01-01 00:00:00', '2026-01-01 00:00:00', 'done')""",
    """INSERT INTO audit (at, lease_id, "user", after, devices, actor, reason)
       VALUES ('2026-01-01 00:00:00', ?1, ?2, 'released', '[]', 'pool', 'done')""",
    """INSERT INTO uses (lease_id, "user", purpose, gpus, since, until)
       VALUES (?1, ?2, 'kernel', 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00')""",
)


def milliseconds(seconds) -> float:
    return statistics.median(seconds) * 1000


def forty_at_once(deployment, admin, kernels) -> None:
    headers = {"Authorization": f"Bearer {admin}"}
    httpx.put(f"{deployment.url}/services/gpu-pool/quotas/default", headers=headers, json={"gpus": QUOTA})
    crowd = Crowd(deployment, PEOPLE, kernels // len(PEOPLE))
    begun = time.perf_counter()
    printed = crowd.run()
    took = time.perf_counter() - begun
    order = Order(history(deployment, admin), GPUS, QUOTA)
    assert Counter(order.granted) == dict.fromkeys(PEOPLE, kernels // len(PEOPLE))
    print(f"{len(printed)} kernels of {len(PEOPLE)} people on {GPUS} GPUs: all ran a cell, {took:.1f} s in all")
    print(f"order of the grants: {' '.join(order.granted)}")
    print(f"nobody was passed over who had fewer GPUs; nobody had more than {QUOTA}; each GPU was held once")
    print(f"waits in the queue: median {statistics.median(order.waits):.2f} s, longest {max(order.waits):.2f} s")


def grant_times(deployment, rounds) -> list[float]:
    """Ask for a free GPU as a kernel does, straight at the pool."""
    server = Process.of(sign_in(deployment, PEOPLE[0]).server.pid)
    body = {"purpose": "kernel", "devices": 1, "holder": {"pid": server.pid, "start_time": server.start_time}}
    times = []
    with httpx.Client(
        base_url=deployment.settings.direct_url("gpu-pool"),
        headers={"Authorization": f"Bearer {deployment.token(PEOPLE[0])}"},
        timeout=60,
    ) as client:
        for _ in range(rounds):
            begun = time.perf_counter()
            answer = client.post("/leases", json=body)
            times.append(time.perf_counter() - begun)
            assert answer.status_code == 201, answer.text
            client.delete(f"/leases/{answer.json()['id']}").raise_for_status()
    return times


def grown_books(ended) -> None:
    """Compare the time of an ask and its end in books that are empty, long, and long with a queue."""
    with tempfile.TemporaryDirectory() as folder, httpx.Client(trust_env=False, timeout=60) as client:
        pool = PoolProcess(Path(folder), simulate_gpus=GPUS)
        pool.start()
        try:
            fresh = lease_times(client, pool)
            pool.kill()
            fill(pool.database, ended)
            pool.start()
            long = lease_times(client, pool)
            for number in range(QUEUE):  # each wants all GPUs, of which one is held
                ask(client, pool, f"waits{number % 10}", GPUS)
            queued = lease_times(client, pool)
        finally:
            pool.kill()
    print(f"an ask and its end: empty books {milliseconds(fresh):.1f} ms, {ended} ended leases", end=" ")
    print(f"{milliseconds(long):.1f} ms, and {QUEUE} asks in the queue {milliseconds(queued):.1f} ms")


def lease_times(client, pool, rounds=50) -> list[float]:
    """Ask for a GPU and give it, or the place in the queue, back, while somebody holds another GPU."""
    held = ask(client, pool, "ann", 1)
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        lease = ask(client, pool, "ben", 1)
        request(client, pool, "ben", "DELETE", f"leases/{lease['id']}")
        times.append(time.perf_counter() - begun)
    request(client, pool, "ann", "DELETE", f"leases/{held['id']}")
    return times


def ask(client, pool, user, devices, holder=None):
    holder = holder or Process.own()
    named = {"holder": {"pid": holder.pid, "start_time": holder.start_time}}
    lease = request(client, pool, user, "POST", "leases", json={"purpose": "kernel", "devices": devices, **named})
    if holder != Process.own():
        request(client, pool, user, "PATCH", f"leases/{lease['id']}", json=named)
    return lease


def request(client, pool, user, method, path, **what):
    answer = client.request(method, f"{pool.url}/{path}", headers={"Authorization": f"Bearer {user}"}, **what)
    return answer.raise_for_status().json()


def fill(database, ended) -> None:
    """Put leases that have ended into the books, each with its audit and its use, as if years had passed."""
    past = [(f"{number:032x}", f"user{number % 40}") for number in range(ended)]
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        for insertion in _PAST:
            connection.executemany(insertion, past)


async def first_cell(spec) -> float:
    """Return the seconds from the start of a kernel to the end of its first cell."""
    manager = AsyncKernelManager(kernel_name=spec, transport="ipc", connection_file=tempfile.mktemp(suffix=".json"))
    begun = time.perf_counter()
    await manager.start_kernel()
    try:
        client = manager.client()
        client.start_channels()
        await client.wait_for_ready(timeout=120)
        reply = await client.execute_interactive("1 + 1", timeout=120, output_hook=lambda message: None)
        took = time.perf_counter() - begun
        assert reply["content"]["status"] == "ok"
        client.stop_channels()
    finally:
        await manager.shutdown_kernel(now=True)
    return took


@contextmanager
def bare_kernel(folder):
    """Put a kernelspec beside ours that runs IPython's kernel on Jupyter's provisioner."""
    spec = Path(folder) / "kernels" / "bare"
    spec.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "bare", "language": "python"}))
    os.environ["JUPYTER_PATH"] = str(folder)
    yield "bare"
    del os.environ["JUPYTER_PATH"]


def kernel_starts(rounds) -> tuple[list[float], list[float]]:
    """Return the seconds with a lease and without."""
    with tempfile.TemporaryDirectory() as folder, bare_kernel(folder) as bare:
        pool = PoolProcess(Path(folder), simulate_gpus=GPUS)
        pool.start()
        os.environ.update(pool.environment("ann"))
        leased, unleased = [], []
        try:
            for number in range(rounds + 1):
                pair = asyncio.run(first_cell("python-torch")), asyncio.run(first_cell(bare))
                if number:  # the first warms the disk
                    leased.append(pair[0])
                    unleased.append(pair[1])
        finally:
            pool.kill()
    return leased, unleased


def kills(rounds) -> tuple[list[float], list[float]]:
    """Return the seconds until a killed pool is back with its leases, and until a killed holder's lease has ended."""
    back, ended = [], []
    with tempfile.TemporaryDirectory() as folder, httpx.Client(trust_env=False, timeout=60) as client:
        pool = PoolProcess(Path(folder), simulate_gpus=GPUS)
        pool.start()
        try:
            for _ in range(rounds):
                holders = [subprocess.Popen(["sleep", "600"]) for _ in range(GPUS)]
                for holder in holders:
                    ask(client, pool, "ann", 1, Process.of(holder.pid))
                held = pool.holders()
                pool.kill()
                begun = time.perf_counter()
                pool.start()
                assert pool.holders() == held
                back.append(time.perf_counter() - begun)
                for left, holder in reversed(list(enumerate(holders))):
                    begun = time.perf_counter()
                    holder.kill()
                    holder.wait()
                    eventually(lambda: len(pool.holders()) == left, what="the end of its lease")  # noqa: B023
                    ended.append(time.perf_counter() - begun)
        finally:
            pool.kill()
    return back, ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--ended", type=int, default=100_000)
    options = parser.parse_args()
    with deploy(simulate_gpus=GPUS) as deployment:
        deployment.add_user("root-of-gpus", admin=True)
        forty_at_once(deployment, deployment.token("root-of-gpus"), options.kernels)
        grants = grant_times(deployment, 10 * options.rounds)
    print(f"a free GPU is granted in {milliseconds(grants):.1f} ms (median of {len(grants)}); to be under 20 ms")
    grown_books(options.ended)
    leased, bare = kernel_starts(options.rounds)
    more = milliseconds(leased) - milliseconds(bare)
    print(f"first cell of a kernel: with a lease {milliseconds(leased):.0f} ms, without {milliseconds(bare):.0f} ms")
    print(f"ratio {milliseconds(leased) / milliseconds(bare):.3f}; slower by {more:.0f} ms; to be under 50 ms")
    for what, times in zip(
        ("a killed pool is back with its leases", "a killed holder's lease ends"), kills(5), strict=True
    ):
        print(f"{what} in {statistics.median(times):.2f} s (median of {len(times)}, longest {max(times):.2f} s)")


if __name__ == "__main__":
    main()
