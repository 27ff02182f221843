"""The thread that takes a run from waiting for workers to its end, whatever the end is."""

from __future__ import annotations

import queue
import re
import secrets
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from armillary_kernels.texts import translator
from armillary_kernels.worker_end import WorkerEnd
from dask.utils import format_bytes
from distributed import Client

from armillary.clusters.worker_ends import worker_ends
from armillary.errors import ClusterError, TrainingError
from armillary.training.placement import Event, Reservation, present_workers
from armillary.training.run import Run, Status

_ = translator(__file__)

#: How often the cluster is asked whether all workers are still there, seconds.
ROLL_CALL = 1.0
#: After a first failure, how long to listen for the one that caused it, seconds.
INQUEST = 3.0
#: How long to wait until the ranks of an ended run are gone, seconds.
FAREWELL = 10.0

#: What a rank says when it only lost another one.
LOST_PEER = re.compile(
    r"gloo|nccl|peer|collective|coordination|connection (closed|reset|refused|was)|connect(ion)? timed? ?out"
    r"|failed to connect|broken pipe|recvvalue failed|socket (closed|timeout)"
    r"|UnavailableError|CancelledError|DistNetworkError|DistStoreError|DistBackendError",
    re.IGNORECASE,
)


class Supervisor:
    """Watches over one attempt to run.

    Parameters
    ----------
    run
        The run.
    connect
        Returns the cluster's client as a context manager; may take long.
    worker_timeout
        Seconds to wait for workers.
    resume
        Whether to go on from the checkpoint.
    """

    def __init__(
        self, run: Run, connect: Callable[[], AbstractContextManager[Client]], *, worker_timeout: float, resume: bool
    ) -> None:
        self.run = run
        self.connect = connect
        self.worker_timeout = worker_timeout
        self.resume = resume
        self.attempt = f"armillary-training-{run.id}-{secrets.token_hex(3)}"
        self.events: queue.Queue[Event] = queue.Queue()
        self.statuses: dict[int, int] = {}
        self.failures: list[Event] = []
        self.holding: set[str] = set()

    def start(self) -> None:
        """Supervise in a thread of its own."""
        threading.Thread(target=self._supervise, name=f"supervise {self.run.id}", daemon=True).start()

    def _supervise(self) -> None:
        end = self._end()
        self.run.folder.release()
        self.run.move_to(*end)

    def _end(self) -> tuple[Status, TrainingError | None]:
        """Let the attempt run and return how it ended."""
        try:
            self.run.note(_("Connecting to the cluster"))
            with self.connect() as client:
                client.subscribe_topic(self.attempt, lambda event: self.events.put(event[1]))
                try:
                    return self._attempt(Reservation(client, self.attempt, self.events))
                finally:
                    client.unsubscribe_topic(self.attempt)
        except TrainingError as error:
            # Also while the cluster was waited for, which may take long where GPUs are scarce.
            return ("cancelled", self._cancelled()) if self.run.cancel_requested else ("failed", error)
        except ClusterError as error:
            return "failed", TrainingError(error.what, error.remedy)
        except Exception as error:
            failure = TrainingError(
                _(
                    "Training stopped for a reason in the cluster: {kind}: {error}.",
                    kind=type(error).__name__,
                    error=error,
                ),
                self._way_on(),
            )
            failure.__cause__ = error
            return "failed", failure

    def _attempt(self, places: Reservation) -> tuple[Status, TrainingError | None]:
        """Hold places, start the ranks and watch them; return how the run ended when the ranks are gone."""
        error: TrainingError | None = None
        started = False
        try:
            self.run.note(_("Waiting for {n} workers", n=self.run.plan.workers))
            plan, wanted = self.run.plan, lambda: not self.run.cancel_requested
            places.hold(plan.workers, self.worker_timeout, wanted, gpus=plan.gpus)
            if not self.run.cancel_requested:
                self.holding = {place.worker for place in places.places}
                places.start(self.run.plan, str(self.run.folder.path), resume=self.resume)
                started = True
                self.run.move_to("running")
                self.run.note(_("Starting the ranks"))
                error = self._watch(places)
        finally:
            places.release()
            if started:
                self._see_off(places)
        if self.run.cancel_requested and (error is not None or len(self.statuses) < self.run.plan.workers):
            return "cancelled", self._cancelled()
        return ("finished", None) if error is None else ("failed", error)

    def _watch(self, places: Reservation) -> TrainingError | None:
        """Take in events until all ranks have ended, or one has failed; return why."""
        next_call = 0.0
        while len(self.statuses) < self.run.plan.workers:
            if self.run.cancel_requested:
                return self._cancelled()
            self._take_event(0.2)
            if self.failures:
                return self._inquest(places)
            if time.monotonic() > next_call:
                if lost := lost_workers(places):
                    return self._worker_died(places, lost)
                next_call = time.monotonic() + ROLL_CALL
        return None

    def _take_event(self, patience: float) -> None:
        try:
            event = self.events.get(timeout=patience)
        except queue.Empty:
            return
        if event["type"] == "ended":
            self.statuses[event["rank"]] = event["status"]
        elif event["type"] == "failed":
            self.failures.append(event)
        elif event["type"] == "ready":
            # Dask started this worker anew under its old address, so its rank is gone; or it answers too late.
            if event["worker"] in self.holding:
                self.failures.append({"type": "reborn", "worker": event["worker"], "message": "peer"})
        else:
            self.run.record(event)

    def _inquest(self, places: Reservation) -> TrainingError:
        """Find the failure that caused the others: a rank that only lost another one is not it."""
        deadline = time.monotonic() + INQUEST
        while time.monotonic() < deadline and not self.run.cancel_requested:
            if lost := lost_workers(places):
                return self._worker_died(places, lost)
            if cause := next(filter(is_cause, self.failures), None):
                return self._rank_failed(cause)
            self._take_event(0.2)
        first = self.failures[0]
        reborn = first["type"] == "reborn"
        return self._worker_died(places, [first["worker"]]) if reborn else self._rank_failed(first)

    def _see_off(self, places: Reservation) -> None:
        """Wait until the workers that are left have ended their ranks, so that a resumed run meets none of them."""
        deadline = time.monotonic() + FAREWELL
        while time.monotonic() < deadline:
            gone = set(lost_workers(places))
            expected = {rank for rank, place in enumerate(places.places) if place.worker not in gone}
            if expected <= self.statuses.keys():
                return
            self._take_event(0.2)

    def _rank_failed(self, event: Event) -> TrainingError:
        """Put a rank's failure into words; one that we raised ourselves has its words already."""
        if event["what"]:
            return TrainingError(event["what"], event["remedy"])
        traceback = event["traceback"].rstrip()
        details = f"\n\n{traceback}" if traceback else ""
        lines = [line for line in self.run.logs.splitlines() if line.startswith(f"[rank {event['rank']}]")][-10:]
        heading = _("Last lines of its log:")
        tail = "\n".join(["", "", heading, *lines]) if lines and not traceback else ""
        return TrainingError(rank_failure(event), f"{self._way_on()}{details}{tail}")

    def _worker_died(self, places: Reservation, workers: list[str]) -> TrainingError:
        ends = worker_ends(places.client)
        for rank, place in enumerate(places.places):
            if place.worker in workers and place.worker in ends:
                return self._memory_exceeded(rank, ends[place.worker])
        progress = self.run.progress
        names = ", ".join(workers)
        return TrainingError(
            _(
                "The Dask worker {names} died during epoch {epoch} of {epochs}. All ranks were stopped.",
                names=names,
                epoch=progress.epoch,
                epochs=progress.epochs,
            ),
            self._way_on(),
        )

    def _memory_exceeded(self, rank: int, end: WorkerEnd) -> TrainingError:
        remedy = _(
            'Close the cluster and start one with more memory, such as `armillary.cluster(memory="{twice}")`, '
            "or train with a smaller batch_size.",
            twice=format_bytes(2 * end.limit),
        )
        return TrainingError(
            _(
                "The Dask worker of rank {rank} was ended: it used {used} of its {limit} of memory. "
                "All ranks were stopped.",
                rank=rank,
                used=format_bytes(end.used),
                limit=format_bytes(end.limit),
            ),
            f"{remedy} {self._way_on()}",
        )

    def _cancelled(self) -> TrainingError:
        return TrainingError(_("The run {run} was cancelled.", run=self.run.id), self._way_on())

    def _way_on(self) -> str:
        kept = self.run.folder.checkpoint_epoch()
        if not kept:
            return _("No epoch had ended: start it again with fit().")
        return _(
            "The checkpoint of epoch {epoch} is kept: fit(resume={run!r}) goes on from there.",
            epoch=kept,
            run=self.run.id,
        )


def lost_workers(places: Reservation) -> list[str]:
    """Return the addresses of workers that hold a place and are gone."""
    present = set(present_workers(places.client))
    return [place.worker for place in places.places if place.worker not in present]


def rank_failure(event: Event) -> str:
    """Return in a sentence how a rank failed; one that died without a word tells only its exit status."""
    rank = event["rank"]
    if event["error"] != "RankDied":
        message = event["message"] or event["error"]
        return _(
            "Rank {rank} failed with {kind}: {message}. All ranks were stopped.",
            rank=rank,
            kind=event["error"],
            message=message,
        )
    status = event["status"]
    if status == -signal.SIGKILL:
        return _(
            "Rank {rank} was killed (SIGKILL): the machine may have run out of memory. All ranks were stopped.",
            rank=rank,
        )
    if status < 0:
        name = signal.Signals(-status).name
        return _("Rank {rank} was ended by {signal}. All ranks were stopped.", rank=rank, signal=name)
    return _("Rank {rank} ended with exit status {status}. All ranks were stopped.", rank=rank, status=status)


def is_cause(failure: dict[str, Any]) -> bool:
    """Tell whether a failure came from the rank itself, and not from the loss of another."""
    return failure["type"] == "failed" and not LOST_PEER.search(f"{failure['error']} {failure['message']}")
