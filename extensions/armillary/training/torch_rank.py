"""PyTorch inside a rank: DistributedDataParallel over NCCL where each rank has a GPU of its own, else over gloo."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
import torch.nn.functional as F
from armillary_kernels.gpu_environment import has_gpu
from armillary_kernels.texts import translator
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from armillary.errors import TrainingError
from armillary.training import torch_network
from armillary.training.engine import Engine, Sums

_ = translator(__file__)

#: The agents end all ranks when one fails, so this only bounds what nobody else notices.
COLLECTIVE_TIMEOUT = timedelta(minutes=30)

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


class TorchEngine(Engine):
    """DDP averages the ranks' gradients; each rank scales its loss so that the average is the batch's mean."""

    reader = "to_torch"

    def prepare(self, packed: bytes, example: npt.NDArray[np.float32]) -> None:
        """Join the process group and wrap the network."""
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        self.device = self._join()
        self.network = torch_network.unpack(packed, example).to(self.device)
        self.parallel = DistributedDataParallel(self.network, find_unused_parameters=self.plan.find_unused)
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = OPTIMIZERS[self.plan.optimizer](parameters, lr=self.plan.learning_rate)  # type: ignore[call-arg] # the base class has no lr

    def _join(self) -> torch.device:
        """Start the process group and return this rank's device, the same kind on every rank."""
        if self.plan.gpus:
            check_gpu()
        store = dist.TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            self.plan.workers,
            is_master=self.rank == 0,
            timeout=timedelta(minutes=5),
        )
        mine = str(torch.cuda.get_device_properties(0).uuid) if torch.cuda.is_available() else ""
        store.set(f"gpu/{self.rank}", mine)
        gpus = [store.get(f"gpu/{rank}").decode() for rank in range(self.plan.workers)]
        # NCCL refuses two ranks on one GPU; gloo then carries GPU tensors too.
        backend = "nccl" if all(gpus) and len(set(gpus)) == len(gpus) else "gloo"
        dist.init_process_group(
            backend, store=store, rank=self.rank, world_size=self.plan.workers, timeout=COLLECTIVE_TIMEOUT
        )
        return torch.device("cuda", 0) if all(gpus) else torch.device("cpu")

    def begin_epoch(self, epoch: int) -> None:
        """Seed dropout by run, epoch and rank."""
        torch.manual_seed(hash((self.plan.seed, epoch, self.rank)) % 2**63)
        self.parallel.train()

    def train_step(self, x: Tensor, y: Tensor, examples: int, learning_rate: float) -> Tensor:
        """Take one step; see `Engine.train_step`."""
        x, y, weights = self._to_device(x, y)
        logits = self.parallel(x)
        losses = F.cross_entropy(logits, y, reduction="none")
        loss = torch.dot(losses, weights)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        (loss * (self.plan.workers / examples)).backward()
        self.optimizer.step()
        return _tally(loss, logits, y, weights)

    def _to_device(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the batch and its weights; an empty one becomes one example of weight 0, for DDP needs a gradient."""
        weights = torch.ones(len(x))
        if not len(x):
            x, y, weights = torch.zeros(1, *x.shape[1:]), torch.zeros(1, dtype=torch.int64), torch.zeros(1)
        return x.to(self.device), y.to(self.device), weights.to(self.device)

    def evaluate(self, x: Tensor, y: Tensor) -> Tensor:
        """Return loss, right answers and examples without learning."""
        x, y, weights = self._to_device(x, y)
        self.network.eval()
        with torch.no_grad():
            logits = self.network(x)
            return _tally(torch.dot(F.cross_entropy(logits, y, reduction="none"), weights), logits, y, weights)

    def sum_over_ranks(self, tallies: list[Any]) -> Sums:
        """Return the tallies added up over all ranks."""
        block = torch.stack(tallies)
        dist.all_reduce(block)
        return np.asarray(block.cpu(), dtype=np.float64)

    def save(self, file: BinaryIO, epoch: int) -> None:
        """Write tensors and numbers only, so that a load needs to run no code."""
        state = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(), "epoch": epoch}
        torch.save(state, file)

    def restore(self, path: str) -> int:
        """Read what `save` wrote and return its epoch."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        return int(state["epoch"])

    def leave(self) -> None:
        """Leave the process group once every rank has come this far."""
        dist.barrier()
        dist.destroy_process_group()


def check_gpu() -> None:
    """See that PyTorch can use this rank's GPU; where the GPUs are only pretended, the machine has none to miss.

    Raises
    ------
    TrainingError
        If it cannot: on the CPU the run would take days for what takes hours, and hold the GPU all the while.
    """
    if torch.cuda.is_available() or not has_gpu():
        return
    reason = _("this PyTorch was built without CUDA") if torch.version.cuda is None else _("CUDA finds no GPU")
    raise TrainingError(
        _("A rank has a GPU that PyTorch {version} cannot use: {reason}.", version=torch.__version__, reason=reason),
        _("Ask an admin for a PyTorch that fits the driver, or train on the CPU: fit(..., gpus=0)."),
    )


def _tally(loss: Tensor, logits: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Return loss, right answers and examples as float64, not waiting for the GPU."""
    right = ((logits.detach().argmax(dim=1) == y) * weights).sum()
    return torch.stack([loss.detach(), right, weights.sum()]).double()
