"""Pictures prepared per second: ours, Hugging Face ``datasets.map(num_proc=2)`` and a hand-written ``dask.bag``.

All decode the same JPEG files, cut from real photographs, bring them to 224 × 224 pixels by the same filter, and store
them as JPEG of the same quality; ours and the bags on the same two Dask workers. One bag is what one writes at first,
the other lets libjpeg decode at half the size where that is enough, as ours does. They take turns, so that a busy
machine slows them alike; each is run once before it is measured. Then ours prepares a tenth of the pictures and all of
them on new workers, whose largest memory is compared.

    python benchmarks/dataset_preparing.py [rounds] [pictures] [longer side in pixels]
"""

from __future__ import annotations

import io
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

ROUNDS = 4
PICTURES = 4_000
LONGER_SIDE = 640
SIZE = 224
QUALITY = 90
WORKERS = 2


def photographs():
    """Return the photographs that installed packages ship."""
    from PIL import Image

    places = {"sklearn": "datasets/images/*.jpg", "deepforest": "data/*.png"}
    for package, pattern in places.items():
        spec = find_spec(package)
        if spec is not None:
            for path in sorted(Path(spec.submodule_search_locations[0]).glob(pattern)):
                picture = Image.open(path).convert("RGB")
                if min(picture.size) > SIZE:
                    yield picture


def pictures(count: int, longer: int):
    """Yield JPEG files of ``longer`` × 3/4 ``longer`` pixels and the number of the photograph each was cut from."""
    from PIL import Image

    sources, random = list(photographs()), np.random.default_rng(0)
    for number in range(count):
        photo = sources[number % len(sources)]
        width = int(random.integers(SIZE, min(photo.width, photo.height * 4 // 3) + 1))
        height = width * 3 // 4
        left = int(random.integers(0, photo.width - width + 1))
        top = int(random.integers(0, photo.height - height + 1))
        box = (left, top, left + width, top + height)
        buffer = io.BytesIO()
        photo.resize((longer, longer * 3 // 4), Image.Resampling.BICUBIC, box=box).save(buffer, "JPEG", quality=QUALITY)
        yield buffer.getvalue(), number % len(sources)


def imported(count: int, longer: int, name: str):
    from armillary import datasets

    classes = tuple(f"photograph {number}" for number in range(len(list(photographs()))))
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(classes)}
    rows = ({"image": data, "label": label} for data, label in pictures(count, longer))
    return datasets.import_examples(rows, features, name, target="label", split={"train": 0.8, "test": 0.2})


# The three ---------------------------------------------------------------------------------------------------


def ours(dataset, cluster):
    from armillary import datasets
    from armillary.datasets import steps

    recipe = [steps.Resize(SIZE, SIZE), steps.SaveAs("jpeg", QUALITY)]
    made = iter(range(10**6))

    def run() -> int:
        name = f"{dataset.name}-{next(made)}"
        return len(datasets.prepare(dataset, recipe, name, cluster=cluster, progress=lambda *_: None))

    return run


def resized(data: bytes, at_least: int | None = None) -> bytes:
    """Return what a person would write by hand."""
    from PIL import Image

    picture = Image.open(io.BytesIO(data))
    if at_least is not None:
        picture.draft(None, (at_least, at_least))
    picture = picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def dask_bag(dataset, cluster, at_least=None):
    """Read row groups, map over them in a bag, and write a Parquet file for each partition, on the same workers."""
    import dask.bag
    import pyarrow.parquet as pq

    target = Path(os.environ["ARMILLARY_DATASETS"]).parent / "bag"
    target.mkdir(exist_ok=True)
    paths = [dataset.folder / shard.file for shard in dataset.manifest.shards]
    groups = [(str(path), group) for path in paths for group in range(pq.ParquetFile(path).num_row_groups)]
    client = cluster.client()

    def run() -> int:
        parts = (
            dask.bag.from_sequence(groups, partition_size=2).map_partitions(_bag_rows).map(_bag_row, at_least=at_least)
        )
        written = [
            dask.delayed(_bag_write)(part, str(target / f"{number}.parquet"))
            for number, part in enumerate(parts.to_delayed())
        ]
        return sum(client.gather(client.compute(written)))

    return run


def _bag_rows(groups):
    import pyarrow.parquet as pq

    for path, group in groups:
        yield from pq.ParquetFile(path).read_row_group(group).to_pylist()


def _bag_row(row, at_least=None):
    data, path = resized(row["image"]["bytes"], at_least), row["image"]["path"]
    return {"image": {"bytes": data, "path": path}, "label": row["label"]}


def _bag_write(rows, path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(list(rows))
    pq.write_table(table, path, compression="zstd", row_group_size=256)
    return len(table)


def hugging_face(dataset, _cluster):
    from datasets import concatenate_datasets

    splits = dataset.to_huggingface()
    data = concatenate_datasets([splits[name] for name in splits])

    def run() -> int:
        return len(data.map(_hugging_face_row, num_proc=WORKERS, load_from_cache_file=False))

    return run


def _hugging_face_row(example):
    from PIL import Image

    picture = example["image"].convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return {"image": {"bytes": buffer.getvalue(), "path": None}}


CONTESTANTS = {
    "ours": ours,
    "dask.bag": dask_bag,
    "dask.bag, decoding small": partial(dask_bag, at_least=SIZE),
    "datasets.map(num_proc=2)": hugging_face,
}


def rate(run, expected: int) -> float:
    began = time.perf_counter()
    done = run()
    seconds = time.perf_counter() - began
    assert done == expected, (done, expected)
    return done / seconds


def measure(dataset, rounds: int) -> None:
    from armillary import cluster

    with cluster(workers=WORKERS) as workers:
        runs = {name: make(dataset, workers) for name, make in CONTESTANTS.items()}
        for run in runs.values():
            run()
        rates = {name: [] for name in runs}
        for number in range(1, rounds + 1):
            # Who begins changes: what one leaves behind (pages to be written, processes that end) slows the next.
            first = number % len(runs)
            for name in (*list(runs)[first:], *list(runs)[:first]):
                rates[name].append(rate(runs[name], len(dataset)))
            listed = ", ".join(f"{name} {rate[-1]:,.0f}" for name, rate in rates.items())
            print(f"round {number}: {listed} pictures/s", flush=True)
    for name, theirs in rates.items():
        if name != "ours":
            ratio = statistics.median(mine / other for mine, other in zip(rates["ours"], theirs, strict=True))
            print(f"pictures prepared per second, ours : {name} = {ratio:.2f}")


def largest_memory() -> int:
    """Return the most bytes that this process has had in memory.

    Not ``ru_maxrss``, which begins with what the process had that started this one.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def compare_memory(small, large) -> None:
    from armillary import cluster

    with cluster(workers=WORKERS) as workers:
        peaks = []
        for dataset in (small, large):
            ours(dataset, workers)()
            peaks.append(max(workers.client().run(largest_memory).values()))
    listed = " and ".join(
        f"{peak / 2**20:,.0f} MiB for {len(data):,} pictures" for peak, data in zip(peaks, (small, large), strict=True)
    )
    print(f"largest memory of a worker: {listed} = {peaks[1] / peaks[0]:.2f}")


def main() -> None:
    given = [int(value) for value in sys.argv[1:]]
    rounds, count, longer = (*given, *(ROUNDS, PICTURES, LONGER_SIDE)[len(given) :])
    with tempfile.TemporaryDirectory(prefix="armillary-benchmark-") as folder:
        os.environ |= {"ARMILLARY_DATASETS": f"{folder}/datasets", "HF_HOME": f"{folder}/huggingface"}
        os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
        large = imported(count, longer, "photographs")
        measure(large, rounds)
        compare_memory(imported(count // 10, longer, "few-photographs"), large)


if __name__ == "__main__":
    main()
