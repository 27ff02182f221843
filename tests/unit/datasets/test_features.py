"""Features: the descriptions and Arrow types of Hugging Face's library, both ways."""

import datasets as hf
import pyarrow as pa
import pytest
from armillary.datasets import Array, Boxes, ClassLabel, Image, Sequence, Struct, TokenLabels, Translation, Value
from armillary.datasets.kinds import kinds_of
from armillary.datasets.schemas import (
    arrow_schema,
    checked_features,
    feature_of_arrow_type,
    features_from_json,
    features_of_schema,
    features_to_json,
)
from armillary.errors import DatasetError

NAMES = ["crow", "owl"]
BOXES = {"bbox": hf.List(hf.List(hf.Value("float32"), length=4)), "category": hf.List(hf.ClassLabel(names=NAMES))}
THEIRS = {
    "text": hf.Value("string"),
    "class": hf.ClassLabel(names=NAMES),
    "image": hf.Image(),
    "grey": hf.Image(mode="L"),
    "encoded": hf.Image(decode=False),
    "audio": hf.Audio(sampling_rate=16_000),
    "video": hf.Video(dimension_order="NHWC"),
    "tokens": hf.List(hf.Value("string")),
    "tags": hf.List(hf.ClassLabel(names=["O", "PER"])),
    "objects": BOXES,
    "pair": hf.Translation(languages=["zh", "en"]),
    "some": hf.TranslationVariableLanguages(languages=["en", "zh"]),
    "four": hf.List(hf.Value("int32"), length=4),
    "large": hf.LargeList(hf.Value("int8")),
    "matrix": hf.Array2D(shape=(2, 3), dtype="float32"),
    "growing": hf.Array3D(shape=(None, 3, 3), dtype="uint8"),
    "parts": [{"name": hf.Value("string"), "_type": hf.Value("int8")}],
}
DTYPES = [
    *("null", "bool", "int8", "int64", "uint64", "float16", "float32", "float64", "time32[s]", "time64[us]"),
    *("timestamp[s]", "timestamp[ns, tz=UTC]", "timestamp[us, tz=Asia/Shanghai]", "date32", "date64", "duration[ms]"),
    *("decimal128(9, 2)", "decimal256(40, 3)", "binary", "large_binary", "binary_view", "string", "large_string"),
]


def storage(field):
    return getattr(field.type, "storage_type", field.type)


@pytest.mark.parametrize("name", THEIRS)
def test_every_feature_comes_back_from_hugging_face_and_is_stored_alike(name):
    theirs = hf.Features({name: THEIRS[name]})
    ours = features_from_json(theirs.to_dict())
    assert hf.Features.from_dict(features_to_json(ours)) == theirs
    assert features_from_json(features_to_json(ours)) == ours
    assert ours[name].arrow_type == storage(theirs.arrow_schema.field(name))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_plain_type_has_hugging_faces_name(dtype):
    assert Value(dtype).arrow_type == hf.Value(dtype)()
    assert feature_of_arrow_type(Value(dtype).arrow_type) == Value(dtype)


def test_labels_of_tokens_and_boxes_are_recognised():
    ours = features_from_json(hf.Features(THEIRS).to_dict())
    assert ours["tags"] == TokenLabels(("O", "PER"))
    assert ours["objects"] == Boxes(("crow", "owl"))
    assert ours["pair"] == Translation(("zh", "en"))
    assert ours["growing"] == Array((None, 3, 3), "uint8")


def test_a_schema_tells_its_features_by_its_metadata_or_else_by_its_types():
    ours = {"image": Image(), "label": ClassLabel(("a", "b")), "words": Sequence(Value("string"))}
    schema = arrow_schema(ours)
    assert features_of_schema(schema) == ours
    bare = features_of_schema(schema.remove_metadata())
    assert bare["image"] == Struct((("bytes", Value("binary")), ("path", Value("string"))))
    assert (bare["label"], bare["words"]) == (Value("int64"), ours["words"])


def test_the_older_way_to_write_lists_is_understood():
    assert features_from_json({"a": [{"dtype": "int8", "_type": "Value"}]})["a"] == Sequence(Value("int8"))
    older = {"feature": {"x": {"dtype": "int8", "_type": "Value"}}, "_type": "Sequence"}
    assert features_from_json({"b": older})["b"] == Struct((("x", Sequence(Value("int8"))),))


@pytest.mark.parametrize("description", [{"_type": "Pdf"}, {"dtype": "int7", "_type": "Value"}])
def test_an_unknown_feature_is_refused(description):
    with pytest.raises(ValueError):
        features_from_json({"x": description})


@pytest.mark.parametrize("make", [ClassLabel, TokenLabels, Boxes, Translation])
def test_names_are_a_list_without_repetition(make):
    """A text was taken letter by letter."""
    with pytest.raises(DatasetError, match=r"s is 'en'. Give the names in a list"):
        make("en")
    with pytest.raises(DatasetError, match=r"s: 'en' is there twice"):
        make(("en", "zh", "en"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Value("text"), "There is no type 'text' of values. Use one such as 'string'"),
        (lambda: Value(int), "There is no type <class 'int'> of values"),
        (lambda: Array((2,), "float32"), r"\(2,\) is no shape of an array. Give 2 to 5 lengths"),
        (lambda: Array((2, None), "float32"), "is no shape of an array"),
        (lambda: Array((2, 2), "number"), "There is no type 'number' of values"),
        (lambda: checked_features({"i": Image}), r"Column 'i': <class .*Image'> is no feature. Give one such as"),
        (lambda: checked_features({"i": "string"}), "Column 'i': 'string' is no feature"),
        (lambda: checked_features({"i": Sequence(Image)}), "Column 'i': Sequence.* is no feature"),
        (lambda: checked_features(Image()), r"Image\(\) are no features. Give a mapping"),
    ],
)
def test_what_is_no_feature_is_explained(make, said):
    with pytest.raises(DatasetError, match=said):
        make()


def test_parts_and_shapes_are_taken_as_they_are_written():
    assert Struct({"a": Value("string"), "b": Image()}) == Struct((("a", Value("string")), ("b", Image())))
    assert Array([None, 2], "float32") == Array((None, 2), "float32")


def test_the_kind_of_examples_is_named():
    label = ClassLabel(("a", "b"))
    assert kinds_of({"image": Image(), "label": label}, "label") == ("image",)
    assert kinds_of({"image": Image(), "text": Value("string")}) == ("image", "text")
    assert kinds_of({"age": Value("int64"), "text": Value("string"), "label": label}, "label") == ("table",)
    assert kinds_of({"pair": Translation(("en", "zh"))}) == ("translation",)


@pytest.mark.parametrize(
    "metadata",
    [
        b"{",
        b"[]",
        b"[" * 100_000,
        b'{"info": 5}',
        b'{"info": {"features": {"a": []}}}',
        b'{"info": {"features": {"a": 5}}}',
        b'{"info": {"features": {"a": {"_type": "ClassLabel"}}}}',
        b'{"info": {"features": {"a": {"_type": "ClassLabel", "names": ["b", "b"]}}}}',
        b'{"info": {"features": {"a": {"_type": "Value", "dtype": 5}}}}',
    ],
)
def test_damaged_metadata_of_a_strangers_file_are_named(metadata):
    with pytest.raises(ValueError):
        features_of_schema(pa.schema({"a": pa.string()}, metadata={b"huggingface": metadata}))
