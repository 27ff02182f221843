"""Decoded, shuffled batches per second: ours, ImageFolder + DataLoader(2), Hugging Face datasets, webdataset, litdata.

All read the same 10,000 JPEG files of 224 px, cut from real photographs, as float32 batches of 64 in [0, 1],
``(batch, channels, height, width)``, and take turns, so that a busy machine slows them alike; each is run once before
it is measured. webdataset and litdata take part where they are installed: Armillary itself has no use for them.

    python benchmarks/dataset_reading.py [rounds] [pictures]
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

ROUNDS = 3
PICTURES = 10_000
BATCH_SIZE = 64
SIZE = 224
WORKERS = 2


def photographs():
    """Return the photographs that installed packages ship."""
    from PIL import Image

    places = {
        "sklearn": "datasets/images/*.jpg",
        "matplotlib": "mpl-data/sample_data/*.jpg",
        "deepforest": "data/*.png",
    }
    for package, pattern in places.items():
        spec = find_spec(package)
        if spec is not None:
            for path in sorted(Path(spec.submodule_search_locations[0]).glob(pattern)):
                picture = Image.open(path).convert("RGB")
                if min(picture.size) > SIZE:
                    yield picture


def write_pictures(folder: Path, count: int) -> None:
    """Write JPEG files in class folders, one class for each photograph they were cut from."""
    from PIL import Image

    sources, random = list(photographs()), np.random.default_rng(0)
    for number in range(count):
        photo = sources[number % len(sources)]
        side = int(random.integers(SIZE, min(photo.size) + 1))
        left, top = (int(random.integers(0, length - side + 1)) for length in photo.size)
        cut = photo.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
        path = folder / f"class-{number % len(sources)}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cut.save(path, "JPEG", quality=90)


def ours(folder: Path):
    from armillary import datasets
    from armillary.datasets import examples

    examples.DECODED_LIMIT = 0  # so few pictures would be decoded once and kept
    data = datasets.import_images(folder, name="photographs", split={"train": 1})
    return lambda epoch: data.to_torch("train", BATCH_SIZE, epoch=epoch)


def image_folder(folder: Path):
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import ToTensor

    data = ImageFolder(folder, ToTensor())
    return lambda _epoch: DataLoader(data, BATCH_SIZE, shuffle=True, num_workers=WORKERS)


def hugging_face(folder: Path):
    """Return batches of ``datasets`` in torch format; ``DataLoader`` collates."""
    from datasets import load_dataset

    data = load_dataset("imagefolder", data_dir=str(folder), split="train").with_format("torch")
    return _shuffled_by_loader(data, lambda row: (row["image"], row["label"]))


def _shuffled_by_loader(data, pair):
    import torch
    from torch.utils.data import DataLoader

    def collate(rows):
        pairs = [pair(row) for row in rows]
        x = torch.stack([picture for picture, _label in pairs]).float().div_(255)
        return x, torch.as_tensor([int(label) for _picture, label in pairs])

    return lambda _epoch: DataLoader(data, BATCH_SIZE, shuffle=True, num_workers=WORKERS, collate_fn=collate)


def web_dataset(folder: Path):
    import webdataset

    shards = folder.parent / "webdataset"
    shards.mkdir()
    paths = sorted(folder.rglob("*.jpg"))
    with webdataset.ShardWriter(str(shards / "%05d.tar"), maxcount=-(-len(paths) // 8), verbose=0) as writer:
        for number, path in enumerate(paths):
            label = path.parent.name.removeprefix("class-")
            writer.write({"__key__": f"{number:05d}", "jpg": path.read_bytes(), "cls": label})
    urls = [str(path) for path in sorted(shards.glob("*.tar"))]

    def batches(_epoch):
        data = webdataset.WebDataset(urls, shardshuffle=len(urls)).shuffle(1000).decode("torchrgb")
        return webdataset.WebLoader(
            data.to_tuple("jpg", "cls").batched(BATCH_SIZE), batch_size=None, num_workers=WORKERS
        )

    return batches


def lit_data(folder: Path):
    from litdata import StreamingDataLoader, StreamingDataset, optimize

    optimized = folder.parent / "litdata"
    paths = [str(path) for path in sorted(folder.rglob("*.jpg"))]
    optimize(_lit_example, paths, str(optimized), num_workers=1, chunk_bytes="16MB", start_method="fork")
    data = StreamingDataset(str(optimized), shuffle=True)

    def collate(rows):
        import torch

        x = torch.stack([row["image"] for row in rows]).float().div_(255)
        return x, torch.as_tensor([row["label"] for row in rows])

    return lambda _epoch: StreamingDataLoader(
        data, batch_size=BATCH_SIZE, shuffle=True, num_workers=WORKERS, collate_fn=collate
    )


def _lit_example(path: str):
    from PIL import Image

    return {"image": Image.open(path), "label": int(Path(path).parent.name[6:])}


READERS = {
    "ours": (ours, "armillary"),
    "ImageFolder + DataLoader(2)": (image_folder, "torchvision"),
    "Hugging Face datasets, torch": (hugging_face, "datasets"),
    "webdataset": (web_dataset, "webdataset"),
    "litdata": (lit_data, "litdata"),
}


def pictures_per_second(batches, expected: int) -> float:
    """Return the pictures of one epoch per second, from the first call to the last batch."""
    began, seen = time.perf_counter(), 0
    for x, y in batches:
        assert x.shape[1:] == (3, SIZE, SIZE)
        assert str(x.dtype) == "torch.float32"
        seen += len(y)
    seconds = time.perf_counter() - began
    assert seen == expected, (seen, expected)
    return seen / seconds


def measure(folder: Path, rounds: int, count: int) -> None:
    write_pictures(folder, count)
    ready = {}
    for name, (prepare, package) in READERS.items():
        if find_spec(package) is None:
            print(f"{name}: not installed, left out", flush=True)
            continue
        ready[name] = prepare(folder)
        pictures_per_second(ready[name](0), count)
    rates = {name: [] for name in ready}
    for number in range(1, rounds + 1):
        for name, batches in ready.items():
            rates[name].append(pictures_per_second(batches(number), count))
        listed = ", ".join(f"{name} {rate[-1]:,.0f}" for name, rate in rates.items())
        print(f"round {number}: {listed} pictures/s", flush=True)
    for name, theirs in rates.items():
        if name != "ours":
            ratio = statistics.median(mine / other for mine, other in zip(rates["ours"], theirs, strict=True))
            print(f"decoded, shuffled pictures/s, ours : {name} = {ratio:.2f}")


def main() -> None:
    given = [int(value) for value in sys.argv[1:]]
    rounds, count = given[0] if given else ROUNDS, given[1] if given[1:] else PICTURES
    with tempfile.TemporaryDirectory(prefix="armillary-benchmark-") as folder:
        os.environ |= {"ARMILLARY_DATASETS": f"{folder}/datasets", "HF_HOME": f"{folder}/huggingface"}
        os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
        measure(Path(folder) / "pictures", rounds, count)


if __name__ == "__main__":
    main()
