"""Who does the units of work: threads of this process, or the workers of a Dask cluster.

In which order they are done means nothing: results are told apart by their numbers. Here it is threads, not
processes: decoding, resampling, compressing and writing work without Python's lock, and a new process would import a
notebook's or a script's main module once more.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, Protocol

import cloudpickle
from armillary_kernels.texts import translator

from armillary.datasets.preparing.own_code import packed
from armillary.datasets.reading.prefetch import usable_threads
from armillary.errors import ClusterError, DatasetError

_ = translator(__file__)

Task = tuple[Any, ...]
#: Is told the number of a task and what came of it, in the thread that waits.
Report = Callable[[int, Any], None]
#: Is called when the rest is not wanted any more, before those are waited for who are at work.
Abandon = Callable[[], None]


class Crew(Protocol):
    """Does tasks: calls ``function(shared, *task)`` for each, in any order."""

    #: Whether whoever does a task sees the same files as this process.
    sees_files: bool

    def run(
        self, function: Callable[..., Any], shared: Any, tasks: Sequence[Task], report: Report, abandon: Abandon
    ) -> None:
        """Do all tasks; what one of them or ``report`` raises ends the rest."""


class Threads:
    """Threads of this process."""

    sees_files = True

    def run(
        self, function: Callable[..., Any], shared: Any, tasks: Sequence[Task], report: Report, abandon: Abandon
    ) -> None:
        """Do all tasks."""
        executor = ThreadPoolExecutor(usable_threads(), "armillary-preparing")
        try:
            waiting: dict[Future[Any], int] = {
                executor.submit(function, shared, *task): number for number, task in enumerate(tasks)
            }
            while waiting:
                done, _rest = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    report(waiting.pop(future), future.result())
        except BaseException:
            abandon()
            raise
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


class DaskWorkers:
    """The workers of a cluster.

    What a worker had not finished, or not yet handed over, when it died, another does again.

    Parameters
    ----------
    client
        A ``distributed.Client``.
    functions
        Functions of one's own that tasks call.
    """

    sees_files = True

    def __init__(self, client: Any, functions: Sequence[Callable[..., Any]] = ()) -> None:
        self._client = client
        self._functions = functions

    def run(
        self, function: Callable[..., Any], shared: Any, tasks: Sequence[Task], report: Report, abandon: Abandon
    ) -> None:
        """Do all tasks."""
        from distributed import as_completed

        if not tasks:
            return
        run = secrets.token_hex(4)
        # A task of its own, so that the scheduler can have it done again when the workers that held it have died. All
        # others are handed over at once, and named otherwise than this one: then the scheduler sees that they are many
        # alike, and gives a worker the next when it has done one, not a share of all beforehand.
        data = packed(shared, self._functions)
        unpacked = self._client.submit(cloudpickle.loads, data, key=f"armillary-recipe-{run}", pure=False)
        keys = [f"armillary-prepare-{run}-{number}" for number in range(len(tasks))]
        begun = self._client.map(function, [unpacked] * len(tasks), *zip(*tasks, strict=True), key=keys, pure=False)
        futures = {future: number for number, future in enumerate(begun)}
        try:
            for future in as_completed(list(futures)):
                report(futures[future], _result(future))
                future.release()
        except BaseException:
            abandon()
            raise
        finally:
            with suppress(Exception):  # the scheduler may be away
                self._client.cancel([*futures, unpacked], force=True)


def _result(future: Any) -> Any:
    from distributed import CancelledError, KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise ClusterError(
            _("Workers of the Dask cluster died again and again at the same part of the work: {error}.", error=error),
            _("If they ran out of memory, start a cluster with more of it, such as cluster(memory='4 GiB')."),
        ) from error
    except CancelledError as error:
        raise ClusterError(
            _("The Dask cluster was closed while it was preparing."),
            _("Start another and prepare again: what was done is kept."),
        ) from error


def crew_of(cluster: Any, functions: Sequence[Callable[..., Any]] = ()) -> Crew:
    """Return the workers of an `armillary.cluster` or ``distributed.Client``, threads here for None.

    Parameters
    ----------
    functions
        Functions of one's own that they will call.
    """
    if cluster is None:
        return Threads()
    client = cluster.client() if hasattr(cluster, "client") else cluster
    if not hasattr(client, "submit"):
        what = _("{parameter} is {value!r}.", parameter="cluster", value=cluster)
        raise DatasetError(what, _("Give an armillary.cluster, a distributed.Client, or None for threads here."))
    return DaskWorkers(client, functions)
