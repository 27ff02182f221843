"""Editing a version: what changes, what is shared, what survives, and what is refused."""

import datetime
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from armillary import datasets
from armillary.datasets import Boxes, ClassLabel, Image, Sequence, TokenLabels, Value, steps
from armillary.errors import DatasetError
from support.full_disk import file_size_limit

FEATURES = {
    "text": Value("string"),
    "words": Sequence(Value("string")),
    "tags": TokenLabels(("O", "B-PER", "I-PER")),
    "boxes": Boxes(("cat", "dog")),
    "when": Value("timestamp[s]"),
    "label": ClassLabel(("no", "yes")),
}


def example(number):
    return {
        "text": f"text {number}",
        "words": ["Ada", "sings"],
        "tags": ["B-PER", "O"],
        "boxes": {"bbox": [[0, 0, 4, 4]], "category": ["cat"]},
        "when": datetime.datetime(2026, 1, 1),  # noqa: DTZ001 (the feature has no time zone)
        "label": ["no", "yes"][number % 2],
    }


@pytest.fixture
def mixed(store):
    return datasets.import_examples(map(example, range(20)), FEATURES, "mixed", target="label")


def test_rows_are_relabelled_removed_and_moved_in_the_next_version(digits):
    edits = datasets.edit("digits@1")
    edits.relabel([0, 1], "7")
    edits.relabel([2, 3], ["8", 9])
    edits.remove([10, 11])
    moved = int(digits.rows("train")[5])
    edits.move(moved, "test")
    assert str(edits.summary) == "4 relabelled, 2 removed, 1 moved to another split"
    assert [edits.value(row) for row in range(5)] == ["7", "7", "8", "9", "0"]

    new = edits.save()
    assert (new.reference, new.manifest.parent, len(new)) == ("digits@2", "digits@1", 118)
    assert new.labels(None)[:4].tolist() == [7, 7, 8, 9]
    kept = [row for row in range(120) if row not in (10, 11)]
    np.testing.assert_array_equal(new.raw_examples.take(np.arange(118)), digits.raw_examples.take(np.array(kept)))
    assert new.split_of_rows()[kept.index(moved)] == "test"
    changed = datasets.diff(digits, new)
    assert (len(changed.added), len(changed.removed), len(changed.relabelled), len(changed.moved)) == (0, 2, 4, 1)
    assert not edits.summary
    assert datasets.unsaved_edits() == []
    assert datasets.open("digits@1").labels(None).tolist() == digits.labels(None).tolist()


def test_the_recipe_lists_the_changes_or_hashes_them(digits):
    edits = datasets.edit(digits)
    edits.apply([(0, "relabel", "3"), (4, "remove", None), (5, "keep", None)])
    step = edits.save().manifest.recipe[-1]
    changes = [{"row": 0, "set": {"label": 3}}, {"row": 4, "removed": True}]
    assert {key: step[key] for key in ("step", "set", "removed", "moved", "sources", "changes")} == {
        "step": "edit",
        "set": {"label": 1},
        "removed": 1,
        "moved": 0,
        "sources": ["check"],
        "changes": changes,
    }
    again = datasets.edit(digits)
    again.remove(range(110))
    step = again.save().manifest.recipe[-1]
    assert (step["removed"], len(step["sha256"]), "changes" in step) == (110, 64, False)


def test_shards_without_a_change_are_shared_with_the_parent(store, monkeypatch, mnist):
    monkeypatch.setattr("armillary.datasets.shards.SHARD_BYTES", 60_000)
    x, y = mnist
    ds = datasets.import_arrays(x, y, name="digits")
    edits = datasets.edit(ds)
    first = ds.manifest.shards[0].rows
    edits.relabel(first, 9)
    edits.remove([first + 1, first + 2])
    new = edits.save()
    inodes = [[(store / "digits" / v / s.file).stat().st_ino for s in m.shards] for v, m in versions(ds, new)]
    different = [index for index, pair in enumerate(zip(*inodes, strict=True)) if pair[0] != pair[1]]
    assert len(inodes[0]) > 5
    assert different == [1]
    old, rewritten = (pq.ParquetFile(store / "digits" / v / ds.manifest.shards[1].file).metadata for v in "12")
    assert rewritten.num_row_groups == old.num_row_groups
    assert new.labels(None)[first] == 9


def versions(*opened):
    return [(str(one.version), one.manifest) for one in opened]


def test_the_same_changes_give_the_same_bytes(mixed, store):
    def saved(name):
        edits = datasets.edit("mixed@1")
        edits.set(3, {"text": "另一段", "boxes": {"bbox": [[1, 2, 3, 4]], "category": ["dog"]}})
        edits.remove(7)
        return edits.save(name).manifest

    one, other = saved("one"), saved("other")
    assert one.content == other.content
    assert one.recipe == other.recipe


def test_changes_that_come_to_nothing_save_nothing(digits):
    edits = datasets.edit(digits)
    assert edits.save() is digits
    label = edits.value(0)
    edits.relabel(0, "7")
    edits.relabel(0, label)
    edits.remove(1)
    edits.restore(1)
    assert str(edits.summary) == "no changes"
    assert edits.save() is digits
    assert datasets.unsaved_edits() == []
    datasets.delete("digits@1")


def test_a_rewritten_shard_without_a_difference_is_the_same(mixed):
    edits = datasets.edit(mixed)
    edits.set(3, {"text": "text 3"})
    assert edits.save().reference == "mixed@1"


def test_every_kind_of_value_is_set_and_read_again(mixed):
    edits = datasets.edit(mixed)
    later = datetime.datetime(2027, 2, 3, 4, 5, 6)  # noqa: DTZ001
    values = {
        "text": None,
        "words": ["Ada", "Lovelace", "sings"],
        "tags": ["B-PER", "I-PER", "O"],
        "boxes": {"bbox": [[1.5, 2, 3, 4], [0, 0, 1, 1]], "category": ["dog", "cat"]},
        "when": later,
    }
    edits.set(4, values)
    assert {name: edits.value(4, name) for name in values} == values
    assert edits.summary.values == dict.fromkeys(values, 1)
    del edits
    again = datasets.edit(mixed)
    assert again.value(4, "when") == later, "the journal keeps what JSON has no form for"
    new = again.save()
    assert new.take([4])[0] == {**values, "label": "no"}
    assert new.take([5])[0] == {**example(5), "boxes": {"bbox": [[0, 0, 4, 4]], "category": ["cat"]}}


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda edits: edits.relabel(0, "maybe"), "Row 0 of mixed@1: 'label': 'maybe' is none of the 2 classes"),
        (lambda edits: edits.relabel(0, None), "no value for 'label'"),
        (lambda edits: edits.relabel(20, "no"), r"mixed@1 has no row 20. Rows are numbered from 0 to 19"),
        (lambda edits: edits.remove(-1), "has no row -1"),
        (lambda edits: edits.remove([0.5]), "has no row 0.5"),
        (lambda edits: edits.remove([True]), "has no row True"),
        (lambda edits: edits.relabel([0, 1], ["no"]), "There are 1 values for 2 rows"),
        (lambda edits: edits.set(0, {"nothing": 1}), "unknown column 'nothing'"),
        (lambda edits: edits.set(0, {"tags": ["O"]}), "'tags': 1 labels for 2 tokens"),
        (lambda edits: edits.set(0, {"words": ["one"]}), "'tags': 2 labels for 1 tokens"),
        (lambda edits: edits.set(0, {"boxes": {"bbox": [[0, 0, 0, 1]], "category": [0]}}), "is no box"),
        (lambda edits: edits.move(0, ""), "names no split"),
        (lambda edits: edits.apply([(0, "remove", None), (1, "improve", None)]), "is no suggestion"),
        (lambda edits: edits.apply([(0, "remove", None), (99, "remove", None)]), "has no row 99"),
        (lambda edits: edits.add_column("text", Value("string")), "There is a column 'text' already"),
        (lambda edits: edits.add_column(" ", Value("string")), "' ' names no column"),
        (lambda edits: edits.add_column(3, Value("string")), "3 names no column"),
        (lambda edits: edits.add_column("more", "string"), "Column 'more': 'string' is no feature"),
        (lambda edits: edits.set(0, "hello"), "Row 0 of mixed@1: 'hello' names no column, as .* does"),
        (lambda edits: edits.relabel(0, 1.0), "'label': 1.0 is none of the 2 classes"),
        (lambda edits: edits.add_column("more", ClassLabel(("a",)), target=True), "cannot be the target"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(mixed, act, says):
    edits = datasets.edit(mixed)
    with pytest.raises(DatasetError, match=says):
        act(edits)
    assert not edits.summary
    assert not edits.can_undo
    assert datasets.unsaved_edits() == []


def test_images_are_not_changed_by_hand(store, png):
    ds = datasets.import_examples([{"image": png()}], {"image": Image()}, "pictures", split=None)
    with pytest.raises(DatasetError, match="images, sounds and videos cannot be changed here"):
        datasets.edit(ds).set(0, {"image": png(color=9)})
    with pytest.raises(DatasetError, match=r"pictures@1 has no column with the class. Add one"):
        datasets.edit(ds).relabel(0, "cat")


def test_removing_everything_is_refused_and_keeps_the_changes(digits):
    edits = datasets.edit(digits)
    edits.remove(range(120))
    with pytest.raises(DatasetError, match="No example of digits@1 is left"):
        edits.save()
    assert edits.summary.removed == 120


def test_undo_and_redo_walk_through_the_steps(digits):
    edits = datasets.edit(digits)
    heard = []
    stop = edits.on_change(lambda: heard.append(str(edits.summary)))
    edits.relabel([0, 1], "7")
    edits.relabel(0, "8")
    edits.remove(0)
    edits.undo()
    assert (edits.value(0), edits.removed) == ("8", frozenset())
    edits.undo()
    assert edits.value(0) == "7"
    edits.redo()
    assert (edits.value(0), edits.can_redo) == ("8", True)
    edits.move(3, "test")
    assert not edits.can_redo
    stop()
    while edits.can_undo:
        edits.undo()
    assert edits.undo() is None
    assert not edits.summary
    assert heard[:3] == ["2 relabelled", "2 relabelled", "1 relabelled, 1 removed"]
    assert len(heard) == 7


def test_a_new_column_with_the_class_makes_another_dataset(store, png):
    rows = [{"image": png(color=shade)} for shade in range(6)]
    ds = datasets.import_examples(rows, {"image": Image()}, "shades", split=None)
    edits = datasets.edit(ds)
    edits.add_column("shade", ClassLabel(("dark", "darker")), target=True)
    edits.relabel(range(5), ["dark", "darker"] * 2 + ["dark"])
    with pytest.raises(DatasetError, match="1 examples have no 'shade' yet"):
        edits.save("shades-labelled")
    edits.remove(5)
    with pytest.raises(DatasetError, match="The name 'shades' is taken by a dataset with other columns"):
        edits.save()
    new = edits.save("shades-labelled")
    assert (new.reference, new.manifest.parent, new.target) == ("shades-labelled@1", "shades@1", "shade")
    assert new.class_counts["train"].to_dict() == {"dark": 3, "darker": 2}
    assert [one.read() for one in (row["image"] for row in new.iterate())] == [row["image"] for row in rows[:5]]


def test_a_tables_normalisation_follows_its_training_rows(store, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("x,kind\n" + "".join(f"{number},{'ab'[number % 2]}\n" for number in range(40)))
    ds = datasets.import_table(path, "table", "kind", split=None)
    edits = datasets.edit(ds)
    edits.remove(range(20))
    assert ds.input_spec.mean == (19.5,)
    assert edits.save().input_spec.mean == (29.5,)


def test_what_a_recipe_did_with_raw_rows_travels_on_with_the_edited_table(store):
    rows = [{"x": float(number), "k": "uv"[number % 2], "y": "ab"[number % 2]} for number in range(10)]
    features = {"x": Value("float64"), "k": Value("string"), "y": ClassLabel(("a", "b"))}
    given = datasets.import_examples(rows, features, "given", target="y", split=None)
    made = datasets.prepare(given, [steps.Scale(), steps.Encode()], "made")
    edits = datasets.edit(made)
    edits.relabel(0, "b")
    assert edits.save().input_spec.preparation == made.input_spec.preparation
    edits = datasets.edit("made@2")
    edits.add_column("size", ClassLabel(("small", "large")))
    edits.set(range(10), {"size": "large"})
    wider = edits.save("wider").input_spec
    assert [(field.name, field.choices) for field in wider.preparation.fields] == [
        ("x", ()),
        ("k", ("u", "v")),
        ("size", ("small", "large")),
    ]


def test_rows_are_called_by_whatever_lists_them(digits):
    edits = datasets.edit(digits)
    for rows in ({1, 2}, (row for row in (3, 4)), range(5, 7), np.array([7]), 8):
        edits.remove(rows)
    assert edits.removed == set(range(1, 9))


def test_a_removed_examples_long_video_goes_with_it(store, monkeypatch, png):
    monkeypatch.setattr("armillary.datasets.importing.examples.LARGEST_IN_A_SHARD", 10)
    rows = [{"image": png(color=shade)} for shade in range(3)]
    ds = datasets.import_examples(rows, {"image": Image()}, "large", split=None)
    edits = datasets.edit(ds)
    edits.remove(1)
    new = edits.save()
    assert [file.file for file in new.manifest.media] == [ds.manifest.media[index].file for index in (0, 2)]
    assert [row["image"].read() for row in new.iterate()] == [rows[0]["image"], rows[2]["image"]]
    inode = [(store / "large" / v / new.manifest.media[0].file).stat().st_ino for v in "12"]
    assert inode[0] == inode[1]


KILLED = """
import os, signal, sys
from armillary import datasets

edits = datasets.edit("digits@1")
edits.relabel([0, 1], "7")
edits.remove(5)
edits.remove(6)
edits.undo()
print("made", flush=True)
sys.stdin.readline() if len(sys.argv) > 1 else os.kill(os.getpid(), signal.SIGKILL)
"""


def test_changes_survive_a_killed_kernel(digits):
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    assert (killed.stdout, killed.returncode) == ("made\n", -9)
    (unsaved,) = datasets.unsaved_edits()
    assert (unsaved.reference, unsaved.steps) == ("digits@1", 2)
    edits = datasets.edit("digits@1")
    assert str(edits.summary) == "2 relabelled, 1 removed"
    edits.undo()
    edits.redo()
    assert edits.removed == {5}
    assert datasets.edit(digits) is edits, "one version has one set of changes in a kernel"


def test_a_line_cut_off_by_the_end_is_no_change(digits):
    edits = datasets.edit(digits)
    edits.relabel(0, "7")
    edits.remove(5)
    file = datasets.unsaved_edits()[0].file
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    del edits
    file.write_bytes(file.read_bytes()[:-9])
    edits = datasets.edit(digits)
    assert str(edits.summary) == "1 relabelled"
    edits.remove(6)
    del edits
    assert datasets.edit(digits).removed == {6}


def test_another_kernel_does_not_edit_the_same_version(digits):
    command = [sys.executable, "-c", KILLED, "wait"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "made\n"
        with pytest.raises(DatasetError, match="digits@1 is being edited in another notebook of yours"):
            datasets.edit("digits@1")
        other.communicate("go\n")
    assert datasets.edit("digits@1").removed == {5}


def test_two_that_begin_at_once_the_second_is_refused(digits):
    edits = datasets.edit(digits)
    subprocess.run([sys.executable, "-c", KILLED], capture_output=True, check=False)
    with pytest.raises(DatasetError, match="is being edited in another notebook of yours"):
        edits.remove(9)
    assert edits.removed == frozenset()
    assert datasets.edit(digits).removed == {5}, "the other has ended: its changes are taken up"


def test_changes_to_a_version_that_is_gone_are_refused_and_kept(digits, few_digits, monkeypatch, tmp_path):
    datasets.import_arrays(few_digits[0][::2], few_digits[1][::2], name="digits")
    edits = datasets.edit(digits)
    edits.remove(5)
    with pytest.raises(DatasetError, match=r"digits@1 cannot be deleted: unsaved changes \(1\) refer to it"):
        datasets.delete("digits@1")
    with monkeypatch.context() as another:  # who has the same store, and cannot see them
        another.setenv("ARMILLARY_EDITS", str(tmp_path / "others"))
        datasets.delete("digits@1")
    says = r"digits@1 was deleted by .* Changes to it that were not saved are kept in .*jsonl."
    with pytest.raises(DatasetError, match=says):
        edits.save()
    del edits
    for reference in ("digits@1", digits):
        with pytest.raises(DatasetError, match=r"Changes to it that were not saved are kept in .*jsonl."):
            datasets.edit(reference)
    with pytest.raises(DatasetError, match="no version 9") as raised:
        datasets.edit("digits@9")
    assert "kept in" not in str(raised.value)


def test_changes_of_another_version_with_that_name_are_refused(digits, store, mnist):
    datasets.edit(digits).remove(5)
    (store / "digits").rename(store / "elsewhere")
    datasets.import_arrays(mnist[0][::40], mnist[1][::40], name="digits")
    with pytest.raises(DatasetError, match=r"The unsaved changes in .* are of another digits@1, which is gone. Remove"):
        datasets.edit("digits@1")


def test_a_full_disk_makes_no_change(digits):
    edits = datasets.edit(digits)
    edits.remove(5)
    with pytest.raises(DatasetError, match=r"cannot be written .* the change is not made"), file_size_limit(500):
        edits.remove(range(120))
    saved = edits.removed
    del edits
    assert datasets.edit(digits).removed == saved


def test_a_failed_save_leaves_the_changes_and_no_version(digits, store, mnist):
    x, y = mnist
    ds = datasets.import_arrays(x, y, name="many")
    edits = datasets.edit(ds)
    edits.remove(5)
    with pytest.raises(DatasetError, match=r"The disk of .* is full"), file_size_limit(64 * 1024):
        edits.save()
    assert edits.removed == {5}
    assert [version.name for version in (store / "many").iterdir()] == ["1"]
    assert list((store / ".saving").iterdir()) == []
    assert edits.save().reference == "many@2"


def test_the_manifest_is_json_whatever_was_set(mixed, store):
    edits = datasets.edit(mixed)
    edits.set(0, {"when": datetime.datetime(2027, 1, 1)})  # noqa: DTZ001
    edits.save()
    step = json.loads((store / "mixed/2/manifest.json").read_text())["recipe"][-1]
    assert step["changes"][0]["row"] == 0


def test_memory_stays_that_of_a_row_group(store):
    """A row of every row group is changed; beside the data of one, little is in memory."""
    rows = ({"text": f"{number}:" + os.urandom(4000).hex()} for number in range(256 * 24))
    datasets.import_examples(rows, {"text": Value("string")}, "long", split=None)
    code = """
import pyarrow as pa
from armillary import datasets
edits = datasets.edit("long@1")
edits.remove(range(0, len(edits.dataset), 256))
edits.save()
print(pa.default_memory_pool().max_memory())
"""
    used = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert used < 20 * 2**20, "the data are 48 MB"
