"""Pictures of boxes and discs, with the boxes around them in the layouts that tools write."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = (240, 160)
CLASSES = ("ball", "crate")
Shape = tuple[str, tuple[int, int, int, int]]


def write(root: Path, layout: str, number: int = 12) -> dict[str, list[Shape]]:
    """Write pictures into ``root/images`` and what is in them as ``layout`` has it; return x, y, width, height."""
    random = np.random.default_rng(7)
    (root / "images").mkdir(parents=True, exist_ok=True)
    truth = {f"{place:02}.png": _picture(root / "images" / f"{place:02}.png", random) for place in range(number)}
    {"voc": _write_voc, "coco": _write_coco, "yolo": _write_yolo}[layout](root, truth)
    return truth


def _picture(path: Path, random: np.random.Generator) -> list[Shape]:
    picture = Image.new("RGB", SIZE, (222, 228, 214))
    draw = ImageDraw.Draw(picture)
    shapes: list[Shape] = []
    for column in range(int(random.integers(1, 4))):
        name, side = CLASSES[int(random.integers(2))], int(random.integers(30, 60))
        box = (20 + 75 * column, int(random.integers(10, 80)), side, side)
        corners = (box[0], box[1], box[0] + side, box[1] + side)
        colour = tuple(map(int, random.integers(40, 200, 3)))
        (draw.ellipse if name == "ball" else draw.rectangle)(corners, fill=colour)
        shapes.append((name, box))
    picture.save(path)
    return shapes


def _write_voc(root: Path, truth: dict[str, list[Shape]]) -> None:
    (root / "annotations").mkdir()
    for file, shapes in truth.items():
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin>"
            f"<xmax>{x + width}</xmax><ymax>{y + height}</ymax></bndbox></object>"
            for name, (x, y, width, height) in shapes
        )
        text = f"<annotation><filename>{file}</filename>{objects}</annotation>"
        (root / "annotations" / file).with_suffix(".xml").write_text(text)


def _write_coco(root: Path, truth: dict[str, list[Shape]]) -> None:
    images = [{"id": number, "file_name": file} for number, file in enumerate(truth)]
    boxes = [(number, name, box) for number, shapes in enumerate(truth.values()) for name, box in shapes]
    annotations = [
        {"id": place, "image_id": number, "category_id": CLASSES.index(name), "bbox": box}
        for place, (number, name, box) in enumerate(boxes)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES)]
    described = {"images": images, "annotations": annotations, "categories": categories}
    (root / "instances.json").write_text(json.dumps(described))


def _write_yolo(root: Path, truth: dict[str, list[Shape]]) -> None:
    (root / "labels").mkdir()
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    for file, shapes in truth.items():
        lines = [
            f"{CLASSES.index(name)} {(x + width / 2) / SIZE[0]} {(y + height / 2) / SIZE[1]} "
            f"{width / SIZE[0]} {height / SIZE[1]}"
            for name, (x, y, width, height) in shapes
        ]
        (root / "labels" / file).with_suffix(".txt").write_text("\n".join(lines))
