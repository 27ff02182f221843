"""Readers: every example exactly once, the same steps everywhere, the same values in both frameworks."""

import io
import threading

import numpy as np
import pyarrow as pa
import pytest
from armillary import datasets
from armillary.datasets import examples
from armillary.datasets.reading import decoding, readers, row_groups
from armillary.datasets.reading.batch_memory import BatchMemory
from armillary.datasets.shards import write_shards
from armillary.errors import DatasetError
from armillary.inputs.input_spec import image_spec
from armillary.inputs.pictures import BadPictureError, as_array, decode_stored, encode_array, fitted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image


def values(array):
    return array


def batches(dataset, batch_size=16, split="train", **options):
    return readers.Batches(dataset, split, batch_size, values, "channels_last", **options)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Datasets of 150 pictures whose first pixel is their row, in row groups of different sizes."""
    patch = pytest.MonkeyPatch()
    patch.setenv("ARMILLARY_DATASETS", str(tmp_path_factory.mktemp("numbered")))
    patch.setattr(examples, "DECODED_LIMIT", 0)
    patch.setattr("armillary.datasets.importing.arrays.write_shards", regrouped)
    pictures = np.zeros((150, 4, 4, 1), np.uint8)
    pictures[:, 0, 0, 0] = np.arange(150)
    made = {}
    for name, sizes in {"even": [16], "single": [1], "uneven": [3, 40, 1, 11]}.items():
        regrouped.sizes = sizes
        made[name] = datasets.import_arrays(pictures, np.arange(150) % 2, name=name)
    yield made
    patch.undo()


def regrouped(folder, schema, batches):
    """Write the rows in groups of these sizes, in turn."""
    table = pa.Table.from_batches(batches)
    groups, first = [], 0
    while first < len(table):
        size = regrouped.sizes[len(groups) % len(regrouped.sizes)]
        groups.append(table.slice(first, size).combine_chunks().to_batches()[0])
        first += size
    return write_shards(folder, schema, groups)


def rows_read(reader):
    """Return the rows of each step, as the pictures say, and check that each has its own label."""
    steps = []
    for x, y in reader:
        rows = np.rint(x[:, 0, 0, 0] * 255).astype(int)
        assert (y == rows % 2).all()
        steps.append(rows.tolist())
    return steps


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layout=st.sampled_from(["even", "single", "uneven"]),
    split=st.sampled_from(["train", "validation", "test"]),
    batch_size=st.integers(1, 40),
    world_size=st.integers(1, 8),
    buffer=st.integers(1, 200),
    shuffle=st.booleans(),
    stop=st.integers(0, 20),
)
def test_each_example_once_equal_steps_and_the_exact_rest(
    numbered, layout, split, batch_size, world_size, buffer, shuffle, stop
):
    dataset = numbered[layout]
    options = {"seed": 3, "epoch": stop, "shuffle": shuffle, "buffer": buffer, "split": split}
    readers_of_ranks = [
        batches(dataset, batch_size, rank=rank, world_size=world_size, threads=1 + rank % 3, **options)
        for rank in range(world_size)
    ]
    ranks = [rows_read(reader) for reader in readers_of_ranks]
    single = rows_read(batches(dataset, batch_size * world_size, **options))
    assert {len(steps) for steps in ranks} == {len(single)} == {len(reader) for reader in readers_of_ranks}
    for step, together in enumerate(single):
        assert sorted(together) == sorted(row for rank in ranks for row in rank[step])
    assert sorted(row for step in single for row in step) == dataset.rows(split).tolist()
    stop = min(stop, len(single))
    rest = batches(dataset, batch_size, rank=world_size - 1, world_size=world_size, start_step=stop, **options)
    assert len(rest) == len(single) - stop
    assert rows_read(rest) == ranks[-1][stop:]


def test_a_loop_that_was_left_goes_on_from_its_state(numbered):
    reader = batches(numbered["even"], 10, seed=1, epoch=2, buffer=40)
    whole = rows_read(reader)
    for done, _batch in enumerate(reader, 1):
        if done == 4:
            break
    assert reader.state()["start_step"] == 4
    rest = batches(numbered["even"], **reader.state())
    assert rows_read(rest) == whole[4:]
    assert rest.state() == {**reader.state(), "start_step": len(whole)}


def test_no_thread_outlives_the_loop(numbered):
    for _batch in batches(numbered["even"], 10):
        assert any(thread.name.startswith("armillary-reader") for thread in threading.enumerate())
        break
    assert not any(thread.name.startswith("armillary-reader") for thread in threading.enumerate())


def test_groups_are_read_once_and_dropped_after_their_last_row(numbered, monkeypatch):
    from armillary.datasets.reading.prefetch import Prefetcher

    read, held = [], []
    original = row_groups.RowGroups.read
    monkeypatch.setattr(row_groups.RowGroups, "read", lambda *given: read.append(given[1]) or original(*given))
    reader = batches(numbered["even"], 4, buffer=32)
    prefetcher = Prefetcher(reader._pictures(), reader.rows, 4, len(reader), 2)
    held = [len(prefetcher._groups) for _batch in prefetcher]
    assert sorted(read) == list(range(10))
    assert max(held) < 8
    assert not prefetcher._groups


def test_a_damaged_picture_is_named(store, monkeypatch):
    monkeypatch.setattr(examples, "DECODED_LIMIT", 0)
    pictures = np.zeros((20, 4, 4, 1), np.uint8)
    damaged = encode_array(pictures[0])[:40]
    monkeypatch.setattr(
        "armillary.datasets.importing.arrays.encode_array",
        lambda picture: damaged if picture[0, 0, 0] == 7 else encode_array(picture),
    )
    pictures[:, 0, 0, 0] = np.arange(20)
    dataset = datasets.import_arrays(pictures, np.arange(20) % 2, name="damaged", split=None)
    with pytest.raises(DatasetError, match=r"in row 7 of damaged@1 cannot be read"):
        list(batches(dataset, 4))


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": 2.0},
        {"seed": -1},
        {"epoch": -1},
        {"rank": 2, "world_size": 2},
        {"rank": -1},
        {"start_step": 99},
        {"start_step": -1},
        {"buffer": 0},
        {"threads": 0},
    ],
)
def test_impossible_options_are_refused(numbered, options):
    with pytest.raises(DatasetError):
        batches(numbered["even"], **options)


@pytest.mark.parametrize("limit", [0, 2**30])
def test_torch_and_tensorflow_give_the_same_values(digits, limit, monkeypatch):
    torch = pytest.importorskip("torch")
    tf = pytest.importorskip("tensorflow")
    pictures, labels = digits.arrays(None)
    monkeypatch.setattr(examples, "DECODED_LIMIT", limit)
    reader = digits.to_torch("train", batch_size=40, rank=1, world_size=2, seed=3)
    twin = digits.to_tensorflow("train", batch_size=40, rank=1, world_size=2, seed=3)
    assert len(reader) == len(twin) == 2
    seen = []
    for (x, y), (x_tf, y_tf) in zip(reader, twin, strict=True):
        assert (x.dtype, y.dtype, x_tf.dtype, y_tf.dtype) == (torch.float32, torch.int64, tf.float32, tf.int64)
        assert tuple(x.shape[1:]) == (1, 28, 28)
        assert x.is_contiguous()
        np.testing.assert_array_equal(x.numpy().transpose(0, 2, 3, 1), x_tf.numpy())
        np.testing.assert_array_equal(y.numpy(), y_tf.numpy())
        seen.append(x_tf.numpy())
    rows = reader.rows
    np.testing.assert_allclose(np.concatenate(seen), pictures[rows] / 255, rtol=1e-6)
    assert (labels[rows] == digits.labels(None)[rows]).all()


def jpegs(photo):
    """Yield one picture as JPEG files of every usual kind."""
    for mode in ("RGB", "L"):
        for options in ({}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"quality": 20}):
            yield mode, encoded(photo.convert(mode), **options)


def test_simplejpeg_decodes_the_pixels_that_pillow_does(monkeypatch):
    photo = Image.fromarray(load_sample_image("china.jpg")).crop((100, 100, 323, 291))
    monkeypatch.setattr(decoding, "decode_stored", unexpected)
    for mode, data in jpegs(photo):
        decoder = decoding.PictureDecoder(image_spec(191, 223, len(mode)), "channels_last")
        by_pillow = as_array(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(decoder.pixels(data), by_pillow)


@pytest.mark.parametrize("at_least", [20, 24, 48, 100, 191, 300])
def test_large_jpegs_are_decoded_small_as_pillow_does_it(at_least):
    photo = Image.fromarray(load_sample_image("china.jpg")).crop((100, 100, 323, 291))
    for _mode, data in jpegs(photo):
        by_pillow = Image.open(io.BytesIO(data))
        by_pillow.draft(None, (at_least, at_least))
        by_pillow.load()
        small = decode_stored(data, at_least=at_least)
        assert (small.size, small.mode) == (by_pillow.size, by_pillow.mode)
        np.testing.assert_array_equal(np.asarray(small), np.asarray(by_pillow))


def test_a_large_jpeg_with_too_many_pixels_is_refused_before_it_is_decoded():
    data = encoded(Image.new("RGB", (300, 200)))
    with pytest.raises(BadPictureError, match="300 × 200 pixels are more than the allowed 1,000"):
        decode_stored(data, 1000, at_least=20)


def unexpected(data):
    raise AssertionError("a plain JPEG went to Pillow")


def test_all_other_pictures_are_decoded_by_pillow():
    photo = Image.fromarray(load_sample_image("china.jpg")).crop((0, 0, 20, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    decoder = decoding.PictureDecoder(image_spec(20, 10, 3), "channels_last")
    turned = decoder.pixels(encoded(photo, exif=exif, quality=95))
    assert np.abs(turned.astype(int) - np.asarray(photo.transpose(Image.Transpose.ROTATE_270))).mean() < 10
    whole = encoded(photo.rotate(90, expand=True))
    others = {
        "another size": encoded(photo),
        "four colours": encoded(photo.rotate(90, expand=True).convert("CMYK")),
        "no colours": encoded(photo.rotate(90, expand=True).convert("L")),
        "a PNG": encoded(photo.rotate(90, expand=True), "PNG"),
        "bytes after the end": whole + b"more",
    }
    for what, data in others.items():
        expected = as_array(fitted(decode_stored(data), (10, 20), 3))
        np.testing.assert_array_equal(decoder.pixels(data), expected, err_msg=what)
    for damaged in (whole[:100], whole[:100] + b"\xff\xd9", b"\xff\xd8\xff\xff\xd9"):
        with pytest.raises(BadPictureError):
            decoder.pixels(damaged)


def encoded(picture, form="JPEG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("to", ["to_torch", "to_tensorflow"])
def test_memory_of_batches_is_used_again_only_when_nothing_of_them_is_left(digits, monkeypatch, to):
    monkeypatch.setattr(examples, "DECODED_LIMIT", 0)
    expected = np.concatenate([np.asarray(x) for x, _y in getattr(digits, to)("train", batch_size=8, shuffle=False)])
    held = []
    for x, _y in getattr(digits, to)("train", batch_size=8, shuffle=False):
        held.append(x[3:4])  # a view: the batch itself is let go
        del x
    np.testing.assert_array_equal(np.concatenate(held), expected[3::8])


def test_memory_of_a_batch_that_is_gone_is_that_of_a_later_one():
    memory = BatchMemory()
    first = memory.array((4, 5))
    first[:] = 1
    at, view = first.ctypes.data, first[2]
    del first
    other = memory.array((4, 5))
    other[:] = 2
    assert (view == 1).all()
    del view
    third = memory.array((2, 5))
    assert third.ctypes.data == at
    bigger = memory.array((5, 5))
    bigger[:] = 3
    assert (other == 2).all()
    del memory, bigger, third
    assert (other == 2).all()


def test_pictures_too_many_to_keep_decoded_are_decoded_on_demand(digits, monkeypatch):
    expected = digits.arrays("test")[0]
    examples.load_examples.cache_clear()
    monkeypatch.setattr(examples, "DECODED_LIMIT", 0)
    assert isinstance(digits.raw_examples, examples.EncodedPictures)
    np.testing.assert_array_equal(digits.arrays("test")[0], expected)
    examples.load_examples.cache_clear()
