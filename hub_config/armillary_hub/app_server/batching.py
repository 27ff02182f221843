"""Running concurrent requests together, off the event loop, fairly.

While one batch runs, the next collects; a lone request never waits for company. A large request is served in slices,
turn by turn with the others, so that it delays nobody by more than one batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from armillary_hub.app_server.model import OnnxModel, Tensors
from armillary_hub.app_server.refusals import BadRequestError, BusyError

#: Examples run together at most: more gain nothing on a processor and make others wait.
LARGEST_BATCH = 64

#: Requests that may wait, and the bytes of their inputs.
LONGEST_QUEUE = 1024
LARGEST_BACKLOG = 512 * 2**20


@dataclass(eq=False)
class _Request:
    inputs: Tensors
    rows: int
    answer: asyncio.Future[Tensors]
    taken: int = 0
    parts: list[Tensors] = field(default_factory=list)

    @property
    def form(self) -> tuple[object, ...]:
        """Requests of one form can run together: they differ in their number of rows alone."""
        return tuple((name, values.dtype.str, values.shape[1:]) for name, values in sorted(self.inputs.items()))

    def finish(self) -> None:
        if not self.answer.done():
            self.answer.set_result(self.parts[0] if len(self.parts) == 1 else _joined(self.parts))

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(eq=False)
class _Slice:
    request: _Request
    start: int
    stop: int

    @property
    def inputs(self) -> Tensors:
        if self.start == 0 and self.stop == self.request.rows:
            return self.request.inputs
        return {name: values[self.start : self.stop] for name, values in self.request.inputs.items()}


class Batcher:
    """Answers requests with a model, many at a time."""

    def __init__(
        self, model: OnnxModel, largest_batch: int = LARGEST_BATCH, longest_queue: int = LONGEST_QUEUE
    ) -> None:
        self._model = model
        self._largest_batch = largest_batch
        self._longest_queue = longest_queue
        self._waiting: deque[_Request] = deque()
        self._backlog = 0
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="onnx")

    async def answer(self, inputs: Tensors) -> Tensors:
        """Return the model's outputs for checked inputs.

        Raises
        ------
        BusyError
            When too many requests wait.
        BadRequestError
            When the model refuses the values.
        """
        size = sum(values.nbytes for values in inputs.values())
        if len(self._waiting) >= self._longest_queue or self._backlog + size > LARGEST_BACKLOG:
            raise BusyError
        rows = len(next(iter(inputs.values()))) if self._model.batches else 1
        if self._model.batches and any(len(values) != rows for values in inputs.values()):
            raise BadRequestError("All inputs must have the same first (batch) size.")
        request = _Request(inputs, rows, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        self._backlog += size
        try:
            return await request.answer
        finally:
            self._backlog -= size

    def close(self) -> None:
        """Refuse what still waits and end the thread."""
        if self._worker is not None:
            self._worker.cancel()
        for request in self._waiting:
            request.fail(BusyError())
        self._waiting.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._take()
            if not batch:
                continue
            results = await loop.run_in_executor(self._thread, self._run, [part.inputs for part in batch])
            for part, result in zip(batch, results, strict=True):
                self._settle(part, result)

    def _take(self) -> list[_Slice]:
        """Take up to one batch of rows: a turn for each waiting request, first come first served."""
        batch: list[_Slice] = []
        room = self._largest_batch if self._model.batches else 1
        for _ in range(len(self._waiting)):
            request = self._waiting.popleft()
            if request.answer.done():  # its client has left
                continue
            if batch and request.form != batch[0].request.form:
                self._waiting.append(request)
                continue
            rows = min(request.rows - request.taken, room) if self._model.batches else 1
            batch.append(_Slice(request, request.taken, request.taken + rows))
            request.taken += rows
            room -= rows
            if request.taken < request.rows:
                self._waiting.append(request)
            if room == 0:
                break
        return batch

    def _run(self, inputs: list[Tensors]) -> list[Tensors | Exception]:
        """Run slices together; when that fails, each alone, so that one bad request fails alone."""
        try:
            if len(inputs) == 1:
                return [self._model.run(inputs[0])]
            outputs = self._model.run(_joined(inputs))
            ends = np.cumsum([len(next(iter(tensors.values()))) for tensors in inputs])[:-1]
            split = {name: np.split(values, ends) for name, values in outputs.items()}
            return [{name: parts[i] for name, parts in split.items()} for i in range(len(inputs))]
        except Exception as error:  # handed to the request that waits for it
            return [error] if len(inputs) == 1 else [self._run([alone])[0] for alone in inputs]

    @staticmethod
    def _settle(part: _Slice, result: Tensors | Exception) -> None:
        if isinstance(result, Exception):
            part.request.fail(result)
            return
        part.request.parts.append(result)
        if part.stop == part.request.rows:
            part.request.finish()


def _joined(parts: list[Tensors]) -> Tensors:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
