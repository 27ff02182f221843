"""What an app makes of raw input is what training saw: the steps that it needs travel in the form of the input."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from armillary import datasets
from armillary.datasets import InputSpec, Recipe, Value, steps
from armillary.errors import DatasetError
from armillary.inference.table_page import form_fields, row_of
from armillary.publishing.publish import _warn_of_left_out
from armillary.training.trained_model import TrainedModel
from armillary_kernels.release import Release
from PIL import Image as PillowImage
from support.real_data import STAMPS, inside


def travelled(dataset):
    """Return the form of the input as an app's page reads it from its release."""
    about = {"name": "app", "title": "App", "class_names": dataset.class_names, "input": dataset.input_spec.to_json()}
    release = Release.model_validate_json(Release.model_validate(about).model_dump_json())
    return InputSpec.from_json(release.input)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Pictures as people have them: PNGs with transparency, grey ones, large JPEGs, one turned by its EXIF."""
    root = tmp_path_factory.mktemp("photographs")
    stamps = sorted((STAMPS / "animals/birds").glob("*.png"))[:6] + sorted((STAMPS / "food/fruit").glob("*.png"))[:6]
    for path in stamps:
        (root / path.parent.name).mkdir(exist_ok=True)
        (root / path.parent.name / path.name).write_bytes(path.read_bytes())
    large = PillowImage.open(inside("sklearn", "datasets", "images", "flower.jpg"))
    turned = PillowImage.Exif()
    turned[0x0112] = 6
    large.save(root / "fruit/turned.jpg", exif=turned)
    large.convert("L").save(root / "birds/grey.png")
    large.save(root / "birds/large.jpg")
    return root


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe([steps.Resize(48, 40, "cover"), steps.Normalise()]),
        Recipe([steps.Resize(60, 60), steps.Flip(), steps.Crop(48, 40), steps.Grey(), steps.Normalise()]),
    ],
    ids=["colour", "grey"],
)
def test_pictures_of_any_size(store, photographs, recipe):
    given = datasets.import_files(photographs, "given", {"image": "image"}, label="folder")
    ds = datasets.prepare(given, recipe, "ready")
    spec = travelled(ds)
    assert spec == ds.input_spec
    assert len(spec.mean) == spec.shape[2]
    rows = ds.rows("test") if ds.splits.get("test") else ds.rows(None)
    for row, raw in zip(rows, given.take(rows.tolist(), ["image"]), strict=True):
        np.testing.assert_array_equal(spec.picture_array(raw["image"].read()), ds.raw_examples.take([row])[0])
    [(x, _y)] = list(ds.to_torch("test", batch_size=len(ds), shuffle=False))
    files = [raw["image"].read() for raw in given.take(ds.rows("test").tolist(), ["image"])]
    page = spec.prepare(np.stack([spec.picture_array(data) for data in files]), "channels_first")
    np.testing.assert_array_equal(x.numpy(), page)


def test_pictures_that_models_could_take_before(store, class_folders):
    """Version by version: the import's own size, then the steps of two recipes, one after the other."""
    given = datasets.import_images(class_folders, "digits", size=(20, 20))
    first = datasets.prepare(given, steps.Resize(30, 30), "larger")
    ds = datasets.prepare(first, [steps.Crop(24, 24), steps.Normalise((0.5,), (0.25,))], "cropped")
    spec = travelled(ds)
    assert [step["step"] for step in spec.preparation.steps] == ["resize", "crop"]
    names = [value["path"] for value in given.to_pandas()["image"]]
    for row, name in enumerate(names):
        page = spec.picture_array((class_folders / name).read_bytes())
        np.testing.assert_array_equal(page, ds.raw_examples.take([row])[0])
    white = spec.prepare(np.full((1, 24, 24, 1), 255, np.uint8))
    np.testing.assert_allclose(white, 2.0, rtol=1e-6)


def test_without_a_recipe_nothing_changes(store, digits):
    spec = travelled(digits)
    assert spec.preparation is None
    picture = PillowImage.new("L", (50, 40), 200)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    np.testing.assert_array_equal(spec.picture_array(buffer.getvalue()), spec.image_array(picture))


@pytest.mark.parametrize(
    "recipe",
    [
        [steps.Impute(), steps.Scale(), steps.Encode()],
        [steps.Scale("robust")],
        [steps.Impute("median", columns="body_mass_g"), steps.Encode("number")],
    ],
    ids=["all", "scale", "number"],
)
def test_rows_of_tables(store, recipe):
    path = inside("palmerpenguins", "data", "penguins.csv")
    given = datasets.import_table(path, "penguins", "species")
    ds = datasets.prepare(given, recipe, "ready")
    spec = travelled(ds)
    assert {field.name for field in form_fields(spec)} == set(given.features) - {"species"}
    assert ds.split(seed=1).input_spec.preparation == spec.preparation
    expected = spec.prepare(ds.arrays(None)[0])
    table = pd.read_csv(path).astype(object)
    for row, raw in enumerate(table.where(table.notna(), None).to_dict("records")):
        raw = {name: value for name, value in raw.items() if name != "species"}
        np.testing.assert_array_equal(spec.prepare(row_of(spec, raw))[0], expected[row])


def test_texts_become_categories_that_a_page_offers(store):
    rows = [{"city": city, "n": n, "y": "ab"[n % 2]} for n, city in enumerate(["Lyon", "Oslo", "Lyon", "Rome"] * 5)]
    features = {"city": Value("string"), "n": Value("int64"), "y": datasets.ClassLabel(("a", "b"))}
    given = datasets.import_examples(rows, features, "given", target="y", split=None)
    spec = travelled(datasets.prepare(given, steps.Encode(most=2), "ready"))
    assert [(field.name, field.choices) for field in form_fields(spec)] == [("city", ("Lyon", "Oslo")), ("n", ())]
    assert spec.columns == ("n", "city=Lyon", "city=Oslo")
    assert row_of(spec, {"city": "Oslo", "n": 7}).tolist() == [[7, 0, 1]]
    assert row_of(spec, {"city": "Paris", "n": "many"}).tolist()[0][1:] == [0, 0]


def test_functions_of_ones_own_do_not_travel_and_that_is_said(store, digits):
    invert = steps.Map(lambda example: {"image": example["image"].image().point(lambda value: 255 - value)})
    ds = datasets.prepare(digits, [steps.Resize(20, 20), invert, steps.Resize(10, 10)], "inverted")
    preparation = travelled(ds).preparation
    assert [step["height"] for step in preparation.steps] == [10]
    assert preparation.left_out[0].startswith("resize(")
    assert preparation.left_out[1].startswith("map(function='")
    model = TrainedModel("torch", None, travelled(ds), ds.class_names, ds.reference, None, "inverted")
    with pytest.warns(UserWarning, match=r"do not travel to the app: resize\(height=20, width=20\); map\("):
        _warn_of_left_out(model)


def test_a_text_becomes_the_tokens_that_training_saw(store):
    """No model takes texts yet; what an app for them needs is in the recipe, as plain values."""
    rows = [{"text": text} for text in ("The crow and the owl.", "乌鸦和猫头鹰。", "the crow")]
    ds = datasets.prepare(
        datasets.import_examples(rows, {"text": Value("string")}, "texts", split=None),
        [steps.Tokenise("subwords", 400), steps.Pad(12)],
        "tokens",
    )
    recipe = Recipe.from_json(json.loads(json.dumps(Recipe.of(ds).to_json())))
    features = datasets.open("texts").features
    assert [datasets.prepared_example(recipe, row, features) for row in rows] == list(ds.iterate())
    with pytest.raises(DatasetError, match="Step 'tokenise' has not learned anything yet"):
        datasets.prepared_example(recipe.afresh(), rows[0], features)


def test_a_raw_picture_becomes_what_the_dataset_holds(store, digits):
    ds = datasets.prepare(digits, [steps.Resize(14, 14), steps.Normalise()], "small")
    raw = PillowImage.fromarray(digits.arrays("train")[0][0][..., 0]).resize((56, 56)).convert("RGB")
    made = datasets.prepared_example(Recipe.of(ds), {"image": raw}, digits)["image"].image()
    np.testing.assert_array_equal(np.asarray(made), ds.input_spec.image_array(raw)[..., 0])


def test_a_recipe_is_tried_on_some_examples(store, digits, png):
    trials = datasets.try_recipe(digits, [steps.Resize(14, 14), steps.Normalise()], examples=5)
    assert len(trials) == 5
    assert {trial.before["image"].image().size for trial in trials} == {(28, 28)}
    assert {trial.after["image"].image().size for trial in trials} == {(14, 14)}
    assert {trial.after["label"] == trial.before["label"] for trial in trials} == {True}
    given = datasets.import_examples([{"image": png((4, 4))}], {"image": datasets.Image()}, "small", split=None)
    [trial] = datasets.try_recipe(given, steps.Crop(8, 8))
    assert (trial.after, "fewer than the 8 × 8" in trial.reason) == (None, True)
    assert [info.name for info in datasets.list()] == ["digits", "small"]
