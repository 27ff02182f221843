"""A store on another place than a folder, by a URL that fsspec knows."""

import threading

import fsspec
import numpy as np
import pytest
from armillary import datasets
from armillary.datasets import Image, Value
from armillary.errors import DatasetError
from fsspec.implementations.memory import MemoryFileSystem
from support.object_stores import OBJECT_STORES


@pytest.fixture
def remote(request, tmp_path, monkeypatch):
    """An object store, where nothing can be renamed as a whole, as the place of all datasets."""
    protocol = getattr(request, "param", "memory")
    monkeypatch.setenv("ARMILLARY_DATASETS", f"{protocol}://bucket/datasets")
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    with OBJECT_STORES[protocol]() as store:
        yield store


of_each_kind = pytest.mark.parametrize("remote", OBJECT_STORES, indirect=True)


@of_each_kind
def test_an_object_store_holds_what_a_folder_holds(remote, few_digits):
    ds = datasets.import_arrays(*few_digits, name="digits")
    pictures, labels = ds.arrays(None)
    np.testing.assert_array_equal(pictures[..., 0], few_digits[0])
    np.testing.assert_array_equal(labels, few_digits[1])
    assert len(ds.encoded_images([3, 100])) == 2
    again = datasets.open("digits").split(seed=4)
    assert (again.reference, again.manifest.parent) == ("digits@2", "digits@1")
    assert datasets.import_arrays(*few_digits, name="digits", seed=4, split={"train": 0.8, "test": 0.2}).version == 3
    assert [info.versions for info in datasets.list()] == [(1, 2, 3)]
    datasets.describe("digits", "Ten digits.", ["ocr"])
    assert datasets.open("digits@1").card.tags == ("ocr",)
    datasets.delete("digits@3")
    assert datasets.list()[0].versions == (1, 2)


@of_each_kind
def test_looking_at_a_far_dataset_brings_no_shard_here(remote, few_digits, tmp_path):
    far = datasets.import_arrays(*few_digits, name="digits")
    pages = datasets.browse.Pages(far, datasets.browse.Filters(class_name="7"))
    assert [example["label"] for example in pages.page().examples] == ["7"] * 12
    np.testing.assert_array_equal(np.asarray(pages.medium(84, "image").image()), few_digits[0][84])
    assert not pages.has_unchecked
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert {path.read_bytes()[:4] for path in kept} == {b"PAR1"}
    assert len(kept) == 1  # of the split


@of_each_kind
def test_long_media_are_brought_here_when_they_are_read(remote, monkeypatch, png):
    from armillary.datasets.importing import examples

    monkeypatch.setattr(examples, "LARGEST_IN_A_SHARD", 10)
    rows = [{"image": png(color=shade), "name": str(shade)} for shade in (1, 2, 3)]
    ds = datasets.import_examples(rows, {"image": Image(), "name": Value("string")}, "shades", split=None)
    assert len(ds.manifest.media) == 3
    assert [row["image"].read() for row in ds.iterate()] == [row["image"] for row in rows]


@of_each_kind
def test_a_version_whose_manifest_never_arrived_is_not_there(remote, few_digits, monkeypatch):
    sent = []

    def cut(local, path, **_options):
        sent.append(path)
        if len(sent) > 1:
            raise OSError("the connection was lost")

    with monkeypatch.context() as patch:
        patch.setattr(remote, "put_file", cut)
        with pytest.raises(DatasetError, match=r"cannot be written \(the connection was lost\): dataset 'digits'"):
            datasets.import_arrays(*few_digits, name="digits")
    assert datasets.list() == []
    assert datasets.import_arrays(*few_digits, name="digits").reference == "digits@2"


@of_each_kind
def test_savers_at_once_get_a_version_each(remote):
    barrier = threading.Barrier(4)
    saved = []

    def save(seed):
        noise = np.random.default_rng(seed).integers(0, 256, (40, 8, 8), dtype=np.uint8)
        barrier.wait()
        saved.append(datasets.import_arrays(noise, [0, 1] * 20, name="noise"))

    threads = [threading.Thread(target=save, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(ds.version for ds in saved) == [1, 2, 3, 4]
    assert len({ds.manifest.shards[0].sha256 for ds in saved}) == 4
    for ds in saved:
        ds.arrays(None)  # reads and verifies


@of_each_kind
def test_damage_in_an_object_store_is_found(remote, few_digits, tmp_path):
    ds = datasets.import_arrays(*few_digits, name="digits")
    shard = f"bucket/datasets/digits/1/{ds.manifest.shards[0].file}"
    remote.pipe_file(shard, remote.cat_file(shard)[:-1] + b"x")
    with pytest.raises(DatasetError, match=r"://bucket/.*shard-00000.parquet is damaged"):
        ds.arrays()
    assert not list((tmp_path / "cache").rglob("*.parquet"))


def test_a_file_url_is_a_folder(tmp_path, monkeypatch, few_digits):
    monkeypatch.setenv("ARMILLARY_DATASETS", f"file://{tmp_path}/store")
    datasets.import_arrays(*few_digits, name="digits")
    assert (tmp_path / "store/digits/1/manifest.json").is_file()


def test_a_url_of_an_unknown_kind_is_named(monkeypatch):
    monkeypatch.setenv("ARMILLARY_DATASETS", "nonsense://bucket")
    with pytest.raises(DatasetError, match=r"nonsense://bucket cannot be reached: .*Install the fsspec library"):
        datasets.list()


class ListingsKept(MemoryFileSystem):
    """The same store for a process that remembers listings, as s3fs does."""

    protocol = "kept"

    def ls(self, path, detail=True, **options):
        path = self._strip_protocol(path)
        if path not in self.dircache:
            self.dircache[path] = super().ls(path, detail=True, **options)
        listed = self.dircache[path]
        return listed if detail else [entry["name"] for entry in listed]

    def invalidate_cache(self, path=None):
        self.dircache.clear()

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).removeprefix("kept:/"))


@pytest.mark.filterwarnings("ignore:UPath 'kept'")
def test_what_others_save_is_seen_although_listings_are_remembered(remote, few_digits, monkeypatch):
    fsspec.register_implementation("kept", ListingsKept, clobber=True)
    first = datasets.import_arrays(*few_digits, name="digits")
    monkeypatch.setenv("ARMILLARY_DATASETS", "kept://bucket/datasets")
    assert datasets.list()[0].versions == (1,)
    monkeypatch.setenv("ARMILLARY_DATASETS", "memory://bucket/datasets")
    first.split(seed=1)
    monkeypatch.setenv("ARMILLARY_DATASETS", "kept://bucket/datasets")
    assert datasets.list()[0].versions == (1, 2)
    assert datasets.open("digits@1").split(seed=2).reference == "digits@3"


def test_a_place_that_cannot_be_reached_is_named(monkeypatch):
    monkeypatch.setenv("ARMILLARY_DATASETS", "http://127.0.0.1:1/store")
    for use in (datasets.list, lambda: datasets.open("digits"), lambda: save("digits")):
        with pytest.raises(DatasetError, match=r"http://127.0.0.1:1/store.* cannot be reached: .*credentials"):
            use()


def save(name):
    return datasets.import_examples([{"n": 1}], {"n": Value("int64")}, name, split=None)
