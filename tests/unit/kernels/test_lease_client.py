"""What a lease client makes of answers that are not a lease: the pool's own, the hub's, a proxy's."""

import json
import os
from dataclasses import replace

import pytest
from armillary_kernels.descriptions import describe, explain
from armillary_kernels.lease_client import AsyncLeaseClient, LeaseClient
from armillary_kernels.leases import (
    LeaseError,
    LeaseLostError,
    LeaseRefusedError,
    PoolFaultError,
    PoolUnreachableError,
)
from armillary_kernels.processes import Process
from support.gpu_pool import PoolProcess
from support.strange_pool import StrangePool

FULL = {"error": {"what": "The GPU pool's database cannot be written: the disk is full.", "remedy": "Free some space."}}
FROM_THE_HUB = {"status": 403, "message": "Forbidden"}


@pytest.mark.parametrize(
    ("status", "answer", "kind", "text"),
    [
        (503, FULL, PoolFaultError, "the disk is full. Free some space."),
        (503, "<h1>Service Unavailable</h1>", PoolUnreachableError, "The GPU pool answers 503. Its log says why."),
        (500, FROM_THE_HUB, PoolUnreachableError, "The GPU pool answers 500."),
        (403, FROM_THE_HUB, PoolUnreachableError, "is not a GPU pool: it answers 403. Check ARMILLARY_POOL_URL."),
        (403, ["no"], PoolUnreachableError, "is not a GPU pool"),
        (404, {"error": "nothing"}, PoolUnreachableError, "is not a GPU pool: it answers 404."),
        (200, {"version": "5.5.0"}, PoolUnreachableError, "is not a GPU pool: it answers 200."),
        (200, "<h1>Sign in</h1>", PoolUnreachableError, "is not a GPU pool"),
        (401, {"error": {"what": "No token."}}, LeaseRefusedError, "No token. Check JUPYTERHUB_API_TOKEN."),
        (200, "[" * 100_000, PoolUnreachableError, "is not a GPU pool"),
        (422, {"error": {"what": "Too many."}}, LeaseRefusedError, "Too many."),
        (410, {"error": {"what": "It is gone.", "remedy": "Ask."}}, LeaseLostError, "It is gone. Ask."),
    ],
)
async def test_every_answer_is_a_lease_or_an_error_that_says_what_it_is(status, answer, kind, text):
    body = answer if isinstance(answer, str) else json.dumps(answer)
    with StrangePool(status, body) as pool, LeaseClient(pool.connection("ann")) as client:
        with pytest.raises(LeaseError) as blocking:
            client.look("a")
        async with AsyncLeaseClient(pool.connection("ann")) as other:
            with pytest.raises(LeaseError) as awaited:
                await other.look("a")
    assert type(blocking.value) is type(awaited.value) is kind
    assert text in str(blocking.value)


@pytest.mark.parametrize("body", ["<html>", "{}", "[]", '"x"', '{"leases": 3}', '{"leases": ["x"]}'])
def test_books_in_another_shape_are_no_pools(body):
    with StrangePool(200, body) as pool, LeaseClient(pool.connection("ann")) as client:
        for ask in (client.state, client.utilisation):
            with pytest.raises(PoolUnreachableError, match="is not a GPU pool: it answers 200"):
                ask(lambda answer: [lease.get("id") for lease in answer["leases"]])


@pytest.mark.parametrize("url", ["", "http://[::1", "ftp://x", "/services/gpu-pool", "http://", "http://\udcff"])
def test_an_address_that_is_none_is_named(url):
    with StrangePool(200, "") as pool:
        nowhere = replace(pool.connection("ann"), pool_url=url)
    for client in (LeaseClient, AsyncLeaseClient):
        with pytest.raises(PoolUnreachableError) as refused:
            client(nowhere)
        assert str(refused.value) == f"'{url}' is no address of a GPU pool. Check ARMILLARY_POOL_URL."


def test_only_the_pool_says_that_it_does_not_know_a_lease():
    unknown = {"error": {"what": "There is no lease a."}}
    with StrangePool(404, json.dumps(unknown)) as pool, LeaseClient(pool.connection("ann")) as client:
        client.give_back("a")
    with (
        StrangePool(404, json.dumps(FROM_THE_HUB)) as pool,
        LeaseClient(pool.connection("ann")) as client,
        pytest.raises(PoolUnreachableError),
    ):
        client.give_back("a")


def test_a_cell_says_what_keeps_the_pool_from_working():
    fault = PoolFaultError(*FULL["error"].values())
    waits, fails = describe(fault, "ann"), explain(fault, "ann")
    assert waits.summary == "Waiting for the GPU pool, which cannot work at the moment."
    assert fails.summary == "The GPU pool cannot work at the moment, so no GPU could be had."
    for text in (waits, fails):
        assert text.details[:2] == tuple(FULL["error"].values())


def test_a_file_of_any_name_can_be_a_label(tmp_path):
    """On Linux a name may hold line breaks, and bytes that are no text."""
    pool = PoolProcess(tmp_path)
    pool.start()
    try:
        with LeaseClient(pool.connection("ann")) as client:
            for name in (b"\xff\n.ipynb", b"x" * 255, "课 堂.ipynb".encode()):
                client.ask("kernel", 1, os.fsdecode(name), Process.own(), memory=1)
        labels = [lease["label"] for lease in pool.state("ann")["leases"]]
        assert labels == ["\ufffd\ufffd.ipynb", "x" * 200, "课 堂.ipynb"]
    finally:
        pool.kill()
