"""The store: whole versions or none, whatever happens while saving."""

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from armillary import datasets
from armillary.errors import DatasetError
from support.full_disk import file_size_limit


def visible(store):
    """Everything in the store, hidden folders too."""
    return sorted(path.relative_to(store).as_posix() for path in store.rglob("*"))


def test_a_version_keeps_every_example_and_says_where_it_came_from(store, mnist):
    x, y = mnist
    ds = datasets.import_arrays(x, y, name="digits")
    assert (ds.reference, len(ds)) == ("digits@1", 5000)
    assert ds.splits == {"train": 4000, "validation": 500, "test": 500}
    pictures, labels = ds.arrays(None)
    np.testing.assert_array_equal(pictures[..., 0], x)
    np.testing.assert_array_equal(labels, y)
    manifest = json.loads((store / "digits/1/manifest.json").read_text())
    assert manifest["format_version"] == 2
    assert manifest["recipe"][0]["step"] == "import_arrays"
    assert manifest["author"]
    assert (ds.class_counts.loc["7"] == [400, 50, 50]).all()


def test_shards_have_small_row_groups_and_hugging_face_features(store, mnist):
    datasets.import_arrays(*mnist, name="digits")
    shard = pq.ParquetFile(store / "digits/1/shard-00000.parquet")
    assert max(shard.metadata.row_group(i).num_rows for i in range(shard.num_row_groups)) == 256
    described = json.loads(shard.schema_arrow.metadata[b"huggingface"])["info"]["features"]
    assert described["image"] == {"_type": "Image"}
    assert described["label"] == {"names": [str(digit) for digit in range(10)], "_type": "ClassLabel"}


def test_splits_are_exact_stratified_and_do_not_overlap(digits):
    rows = np.concatenate([digits.rows(name) for name in digits.splits])
    assert sorted(rows) == list(range(120))
    for name in digits.splits:
        assert len(set(digits.class_counts[name])) == 1


def test_open_finds_the_newest_or_names_what_there_is(digits):
    again = digits.split(train=0.5, validation=0.25, test=0.25, seed=4)
    assert (again.reference, again.manifest.parent) == ("digits@2", "digits@1")
    assert datasets.open("digits").reference == "digits@2"
    assert datasets.open("digits@1").splits == digits.splits
    assert [info.reference for info in datasets.list()] == ["digits@2"]
    with pytest.raises(DatasetError, match=r"Dataset 'digits' has no version 4; versions: 1, 2."):
        datasets.open("digits@4")
    with pytest.raises(DatasetError, match=r"There is no dataset 'flowers' .*; datasets: digits."):
        datasets.open("flowers")


def test_the_same_content_again_makes_no_new_version(digits, few_digits):
    assert datasets.import_arrays(*few_digits, name="digits").reference == "digits@1"
    assert digits.split(seed=0).reference == "digits@1"
    assert digits.split(seed=1).reference == "digits@2"


def test_a_taken_name_with_another_form_is_refused(digits, store):
    before = visible(store)
    with pytest.raises(
        DatasetError, match=r"The name 'digits' is taken by a dataset with other .* Choose another name"
    ):
        datasets.import_arrays(np.zeros((30, 8, 8)), [0, 1] * 15, name="digits")
    assert visible(store) == before


@pytest.mark.parametrize("name", ["", "Digits", "../digits", "a/b", ".hidden", "数字", "x" * 101, "digits@1", "a\n"])
def test_names_that_cannot_be_folders_are_refused(store, name):
    with pytest.raises(DatasetError, match=r"cannot name a dataset"):
        datasets.import_arrays(np.zeros((30, 8, 8)), [0, 1] * 15, name=name)
    assert not store.exists()


def test_a_damaged_shard_is_found_on_the_first_read(digits, store):
    shard = store / "digits/1/shard-00000.parquet"
    shard.chmod(0o644)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DatasetError, match=r"shard-00000.parquet is damaged: its SHA-256"):
        datasets.open("digits@1").arrays("train")


def test_importing_anew_repairs_what_is_damaged(digits, store, few_digits):
    shard = store / "digits/1/shard-00000.parquet"
    data = shard.read_bytes()
    shard.chmod(0o644)
    shard.write_bytes(data[:-1] + b"x")
    again = datasets.import_arrays(*few_digits, name="digits")
    assert again.reference == "digits@2"
    np.testing.assert_array_equal(again.arrays(None)[0][..., 0], few_digits[0])
    assert datasets.import_arrays(*few_digits, name="digits").reference == "digits@2"


def test_a_version_without_a_readable_manifest_can_be_deleted(digits, store, few_digits):
    path = store / "digits/1/manifest.json"
    path.chmod(0o644)
    path.write_text("{")
    with pytest.raises(
        DatasetError, match=r"manifest.json is damaged: .* delete this version and import the data anew"
    ):
        datasets.import_arrays(*few_digits, name="digits")
    datasets.delete("digits@1")
    assert datasets.import_arrays(*few_digits, name="digits").reference == "digits@2"


@pytest.mark.parametrize("use", [lambda ds: ds.arrays(None), lambda ds: ds.split(seed=1, duplicates=False)])
@pytest.mark.parametrize("put", [lambda path: None, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_named_and_not_waited_for(digits, store, use, put):
    shard = store / "digits/1/shard-00000.parquet"
    shard.unlink()
    put(shard)
    with pytest.raises(DatasetError, match=r"shard-00000.parquet (cannot be read: No such file|is damaged)"):
        use(digits)
    assert datasets.list()[0].versions == (1,)


def test_a_damaged_manifest_is_named_and_does_not_hide_the_rest(digits, store, few_digits):
    datasets.import_arrays(*few_digits, name="other")
    manifest = store / "digits/1/manifest.json"
    manifest.chmod(0o644)
    manifest.write_text(manifest.read_text()[:200])
    with pytest.raises(DatasetError, match=r"digits/1/manifest.json is damaged"):
        datasets.open("digits")
    assert [info.name for info in datasets.list()] == ["other"]


def save_noise(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (40, 16, 16), dtype=np.uint8)
    return datasets.import_arrays(noise, [0, 1] * 20, name="noise").version


SAVER = """
import sys
import numpy as np
from armillary import datasets

noise = np.random.default_rng(int(sys.argv[1])).integers(0, 256, (40, 16, 16), dtype=np.uint8)
print("ready", flush=True)
sys.stdin.readline()
print(datasets.import_arrays(noise, [0, 1] * 20, name="noise").version)
"""


def test_four_processes_saving_at_once_get_four_versions(store):
    savers = [start(SAVER, str(seed)) for seed in range(4)]
    for saver in savers:
        assert saver.stdout.readline() == "ready\n"
    for saver in savers:
        saver.stdin.write("go\n")
        saver.stdin.flush()
    assert sorted(int(saver.communicate(timeout=60)[0]) for saver in savers) == [1, 2, 3, 4]
    assert datasets.list()[0].versions == (1, 2, 3, 4)
    assert list((store / ".saving").iterdir()) == []


def start(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_version_that_was_saved_in_the_first_format_opens_and_goes_on(digits, store):
    path = store / "digits/1/manifest.json"
    newer = {"media", "licence", "skipped_file"}
    first = {key: value for key, value in json.loads(path.read_text()).items() if key not in newer}
    first |= {"format_version": 1, "report": {"skipped": [{"file": "a.png", "reason": "the file is empty"}]}}
    path.chmod(0o644)
    path.write_text(json.dumps(first))
    old = datasets.open("digits@1")
    assert (old.manifest.format_version, old.manifest.media, old.manifest.licence) == (2, (), "")
    assert old.skipped.iloc[0].tolist() == ["a.png", "the file is empty", None]
    assert old.arrays("train")[0].shape == (100, 28, 28, 1)
    new = old.split(seed=5)
    assert (new.reference, new.manifest.parent) == ("digits@2", "digits@1")
    assert json.loads((store / "digits/2/manifest.json").read_text())["format_version"] == 2
    assert json.loads(path.read_text()) == first, "an old version is not rewritten"


def test_a_manifest_of_a_newer_armillary_is_not_guessed_at(digits, store):
    path = store / "digits/1/manifest.json"
    path.chmod(0o644)
    path.write_text(path.read_text().replace('"format_version": 2', '"format_version": 3'))
    with pytest.raises(DatasetError, match=r"manifest.json was written by a newer Armillary. Upgrade"):
        datasets.open("digits@1")


def test_a_write_that_fails_midway_leaves_nothing(digits, store, mnist):
    before = visible(store)
    full = pytest.raises(DatasetError, match=r"The disk of .* is full: dataset 'many' was not saved")
    with full, file_size_limit(64 * 1024):
        datasets.import_arrays(*mnist, name="many")
    assert visible(store) == before


@pytest.fixture
def tiny_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a file system of 256 KiB needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine refuses mounts")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_named_and_leaves_nothing(tiny_disk, monkeypatch, mnist, few_digits):
    monkeypatch.setenv("ARMILLARY_DATASETS", str(tiny_disk))
    datasets.import_arrays(*few_digits, name="few")
    before = visible(tiny_disk)
    with pytest.raises(DatasetError, match=r"The disk of .*disk is full: dataset 'many' was not saved. Free space"):
        datasets.import_arrays(*mnist, name="many")
    assert visible(tiny_disk) == before
    assert datasets.open("few").arrays("train")[0].shape == (100, 28, 28, 1)


def test_a_version_that_lost_its_manifest_keeps_its_number(digits, store):
    digits.split(seed=1)
    (store / "digits/2/manifest.json").unlink()
    assert digits.split(seed=2).reference == "digits@3"


def test_a_version_on_another_disk_copies_the_shards_it_cannot_share(digits, store, monkeypatch):
    monkeypatch.setattr(os, "link", refuse_link)
    again = digits.split(seed=1)
    np.testing.assert_array_equal(again.arrays(None)[0], digits.arrays(None)[0])


def refuse_link(source, destination):
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


SLOW_SAVER = """
import sys, numpy as np
from armillary import datasets

def stop_midway(done, total):
    if done > 512:
        print("half", flush=True)
        sys.stdin.read()

noise = np.random.default_rng(0).integers(0, 256, (2048, 16, 16), dtype=np.uint8)
datasets.import_arrays(noise, [0, 1] * 1024, name="noise", progress=stop_midway)
"""


def test_a_killed_saver_leaves_nothing_visible_and_the_next_one_sweeps_up(store):
    saver = start(SLOW_SAVER)
    assert saver.stdout.readline() == "half\n"
    saver.kill()
    saver.communicate()
    assert any(path.startswith(".saving/") for path in visible(store))
    assert datasets.list() == []
    assert save_noise(0) == 1
    assert list((store / ".saving").iterdir()) == []


def test_an_unwritable_store_is_named(tmp_path, monkeypatch, few_digits):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("ARMILLARY_DATASETS", str(blocked / "store"))
    with pytest.raises(DatasetError, match=r"cannot be written"):
        datasets.import_arrays(*few_digits, name="digits")


def test_opening_is_quick_and_reads_no_shard(digits, store):
    (store / "digits/1/shard-00000.parquet").unlink()
    ds = datasets.open("digits@1")
    assert len(ds) == 120
    with pytest.raises(DatasetError, match=r"shard-00000.parquet cannot be read"):
        ds.arrays()


def test_a_version_is_read_only_before_it_is_visible(digits, store, monkeypatch):
    modes = []
    rename = Path.rename

    def looked_at(folder, destination):
        modes.extend(stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir())
        return rename(folder, destination)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", looked_at)
        digits.split(seed=1)
    assert modes == [0o444] * 3


def test_rows_and_columns_that_are_not_there_are_named(digits):
    columns = r"digits@1 has no column 'picture'; columns: 'image', 'label'. Name one of these"
    with pytest.raises(DatasetError, match=columns):
        digits.take([0], ["picture"])
    with pytest.raises(DatasetError, match=columns):
        next(digits.iterate(columns=["picture"]))
    with pytest.raises(DatasetError, match=columns):
        datasets.to_pandas(digits, columns=["picture"])
    assert digits.take(np.int64(7), ["label"]) == digits.take([7], ["label"])
    for row in (-1, 120):
        with pytest.raises(DatasetError, match=rf"digits@1 has no row {row}. Rows are numbered from 0 to 119"):
            digits.take([row])
