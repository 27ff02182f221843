"""Boxes and spans stay on what they mark, whatever a recipe does with pictures and texts."""

import io

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets import Boxes, ClassLabel, Image, Sequence, Struct, Value, steps
from armillary.errors import DatasetError
from PIL import Image as PillowImage

OBJECTS = Boxes(("tree",))


def prepared(rows, features, recipe, name="made"):
    given = datasets.import_examples(rows, features, f"{name}-given", split=None)
    return datasets.prepare(given, recipe, name)


def boxes(dataset):
    return [row["objects"]["bbox"] for row in dataset.iterate()]


def white_square(box, size, **options):
    """Return a JPEG that is black but for a box."""
    picture = PillowImage.new("RGB", size)
    picture.paste((255, 255, 255), (box[0], box[1], box[0] + box[2], box[1] + box[3]))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("how", ["stretch", "cover", "contain"])
def test_boxes_stay_on_their_object_in_a_large_jpeg_that_is_decoded_small(store, how):
    box = (320, 200, 160, 80)
    row = {"image": white_square(box, (800, 480)), "objects": {"bbox": [box], "category": [0]}}
    made = prepared([row], {"image": Image(), "objects": OBJECTS}, steps.Resize(96, 96, how))
    [[[x, y, width, height]]] = boxes(made)
    bright = np.asarray(next(made.iterate())["image"].image().convert("L")) > 127
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    seen = columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]
    np.testing.assert_allclose((x, y, width, height), seen, atol=1.5)


def test_boxes_of_a_picture_that_lies_on_its_side_count_it_upright(store):
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    data = white_square((0, 0, 80, 40), (800, 400), exif=exif)
    row = {"image": data, "objects": {"bbox": [(360, 0, 40, 80)], "category": [0]}}
    made = prepared([row], {"image": Image(), "objects": OBJECTS}, steps.Resize(80, 40))
    assert boxes(made) == [[[36, 0, 4, 8]]]


def test_steps_that_move_no_pixel_leave_boxes_alone(store, png):
    row = {"one": png((20, 20)), "other": png((5, 5)), "objects": {"bbox": [(10, 10, 8, 8)], "category": [0]}}
    features = {"one": Image(), "other": Image(), "objects": OBJECTS}
    made = prepared([row], features, [steps.Noise(), steps.Colour(), steps.Grey()])
    assert boxes(made) == [[[10, 10, 8, 8]]]


def test_words_are_not_exchanged_under_marked_parts_of_a_text(store):
    part = Struct((("label", ClassLabel(("person",))), ("start", Value("int32")), ("end", Value("int32"))))
    row = {"text": "Ada wrote home", "names": [{"label": "person", "start": 0, "end": 3}]}
    with pytest.raises(DatasetError, match="'back_off_words' would leave the spans in 'names' where they were"):
        prepared([row], {"text": Value("string"), "names": Sequence(part)}, steps.BackOffWords())
