"""Imports from URLs: a real web server that behaves in every way, and an object store."""

import gzip
import io
import socket
import tarfile
import tempfile
import traceback
import zipfile
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from armillary import datasets
from armillary.datasets import Image, Translation
from armillary.datasets.importing.downloads import local_copy, shown
from armillary.errors import DatasetError
from support.file_server import serving
from support.full_disk import file_size_limit
from support.object_stores import OBJECT_STORES
from support.real_data import inside

ROWS = "size,kind\n" + "".join(f"{row},{'ab'[row % 2]}\n" for row in range(40))


@pytest.fixture(scope="module")
def server(few_digits):
    pictures = io.BytesIO()
    with zipfile.ZipFile(pictures, "w") as archive:
        for index, label in enumerate(few_digits[1]):
            archive.writestr(f"{label}/{index}.png", _png(few_digits[0][index]))
    table = pa.table({"text": [f"text {row}" for row in range(10)]})
    parquet, arrays = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet)
    np.savez(arrays, x=few_digits[0], y=few_digits[1])
    path = inside("django", "conf", "locale", "zh_Hans", "LC_MESSAGES", "django.po")
    files = {
        "rows.csv": ROWS.encode(),
        "rows.csv.gz": gzip.compress(ROWS.encode()),
        "picked": ROWS.encode(),
        "digits.zip": pictures.getvalue(),
        "texts.parquet": parquet.getvalue(),
        "digits.npz": arrays.getvalue(),
        "django.po": path.read_bytes(),
        "empty.csv": b"",
    }
    headers = {"picked": {"Content-Disposition": 'attachment; filename="../../rows.csv"'}}
    with serving(files, headers) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left(tmp_path, monkeypatch):
    """Whatever happens, nothing stays in the folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def _png(pixels):
    from armillary.inputs.pictures import encode_array

    return encode_array(pixels[..., None])


# HTTP -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "picked"])
def test_a_table_is_fetched_with_progress(store, server, name):
    calls = []
    dataset = datasets.import_table(f"{server.url}/file/{name}", "rows", "kind", progress=lambda *p: calls.append(p))
    assert dataset.to_pandas()["size"].tolist() == list(range(40))
    assert dataset.manifest.source == f"{server.url}/file/{name}"
    size = len(server.files[name])
    assert calls[0] == (size, size)
    assert calls[-1] == (40, 40)


def test_every_import_of_files_takes_a_url(store, server):
    url = f"{server.url}/file"
    pictures = datasets.import_images(f"{url}/digits.zip", "pictures")
    assert (len(pictures), pictures.class_names) == (120, tuple("0123456789"))
    files = datasets.import_files(f"{server.url}/moved/digits.zip", "files", {"image": ".png"}, label="folder")
    assert (len(files), files.features["image"]) == (120, Image())
    assert files.manifest.source == f"{server.url}/moved/digits.zip"
    assert datasets.import_arrow(f"{url}/texts.parquet", "texts").to_pandas()["text"][3] == "text 3"
    assert len(datasets.import_numpy(f"{url}/digits.npz", "arrays")) == 120
    pairs = datasets.import_translations(f"{url}/django.po", "django", ("en", "zh"))
    assert pairs.features == {"translation": Translation(("en", "zh"))}


def test_secrets_of_a_url_get_nowhere(store, server):
    address = server.url.replace("://", "://ada:secret@") + "/file/rows.csv?X-Amz-Signature=secret#secret"
    dataset = datasets.import_table(address, "rows", "kind")
    assert "secret" not in (dataset.folder / "manifest.json").read_text()
    with pytest.raises(DatasetError) as refused:
        datasets.import_table(address.replace("/file/", "/nowhere/"), "other", "kind")
    assert "secret" not in str(refused.value)
    assert shown("s3://key:secret@bucket/a b.csv?versionId=1") == "s3://bucket/a b.csv"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/file/nosuch.csv", r"/file/nosuch.csv answers 404 Not Found\. Check the address"),
        ("/failing/rows.csv", r"answers 503 Service Unavailable\. Try again later"),
        ("/page/rows.csv", r"is a web page, not a file"),
        ("/cut/rows.csv", r"cannot be fetched: peer closed connection"),
        ("/endless/rows.csv", r"has more than the allowed 1,000,000 bytes\. Raise max_download_bytes"),
        ("/file/empty.csv", r"empty.csv cannot be read as a table: it is empty"),
    ],
)
def test_what_a_server_does_wrong_is_said(store, server, path, said):
    with pytest.raises(DatasetError, match=said):
        datasets.import_table(server.url + path, "rows", "kind", max_download_bytes=1_000_000)
    assert datasets.list() == []


def test_what_is_too_large_by_its_own_words_is_not_fetched(store, server):
    calls = []
    with pytest.raises(DatasetError, match=r"more than the allowed 100 bytes"):
        datasets.import_files(
            f"{server.url}/file/digits.zip", "files", {"image": ".png"}, max_download_bytes=100,
            progress=lambda *progress: calls.append(progress),
        )  # fmt: skip
    assert calls == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/rows.csv", "http://[bad/rows.csv", "http:///rows.csv"])
def test_who_cannot_be_reached_is_named(store, url):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = url.format(port=free.getsockname()[1])
        with pytest.raises(DatasetError, match=r"(cannot be fetched|cannot be read)"):
            datasets.import_table(address, "rows", "kind")


def test_a_full_disk_is_said(store, server):
    with file_size_limit(1000), pytest.raises(DatasetError, match=r"cannot be stored in .*Free space or set TMPDIR"):
        datasets.import_images(f"{server.url}/file/digits.zip", "digits")


def test_a_download_is_gone_after_the_import(server, nothing_left):
    with local_copy(f"{server.url}/file/rows.csv") as local:
        assert local.path.read_text() == ROWS
        assert local.path.is_relative_to(nothing_left)
    assert not local.path.exists()


def test_paths_are_given_as_they_are(tmp_path):
    for address in (tmp_path, str(tmp_path), f"file://{tmp_path}", f"FILE://localhost{tmp_path}"):
        with local_copy(address) as local:
            assert (local.path, local.source) == (tmp_path, str(tmp_path))
    with local_copy((tmp_path / "a file with 名.csv").as_uri()) as local:
        assert local.path == tmp_path / "a file with 名.csv"


def test_a_name_longer_than_the_disk_takes_is_cut(store, few_digits):
    name = "名" * 90 + ".csv"
    with serving({quote(name): ROWS.encode(), name: ROWS.encode()}, {}) as running:
        assert len(datasets.import_table(f"{running.url}/file/{quote(name)}", "rows", "kind")) == 40


# Object stores ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "s3"])
def protocol(request):
    return request.param


@pytest.fixture
def bucket(protocol, few_digits):
    """An object store, with pictures in class folders, a table and a tar."""
    with OBJECT_STORES[protocol]() as fs:
        _fill(fs, few_digits)
        yield fs


def _fill(fs, few_digits):
    for index, label in enumerate(few_digits[1]):
        fs.pipe_file(f"bucket/digits/{label}/{index:03d}.png", _png(few_digits[0][index]))
    fs.pipe_file("bucket/rows.csv", ROWS.encode())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("a/x.png")
        info.size = len(_png(few_digits[0][0]))
        archive.addfile(info, io.BytesIO(_png(few_digits[0][0])))
    fs.pipe_file("bucket/pictures.tgz", packed.getvalue())


def test_files_and_folders_of_an_object_store(store, bucket, protocol):
    calls = []
    dataset = datasets.import_images(f"{protocol}://bucket/digits/", "digits", progress=lambda *p: calls.append(p))
    assert (len(dataset), dataset.manifest.source) == (120, f"{protocol}://bucket/digits/")
    total = sum(info["size"] for info in bucket.find("bucket/digits", detail=True).values())
    assert calls[119] == (total, total)
    table = datasets.import_table(f"{protocol}://bucket/rows.csv", "rows", "kind")
    assert table.to_pandas()["kind"].tolist() == pd.read_csv(io.StringIO(ROWS))["kind"].tolist()
    assert len(datasets.import_files(f"{protocol}://bucket/pictures.tgz", "files", {"image": ".png"})) == 1


@pytest.mark.parametrize(
    ("address", "limit", "said"),
    [
        ("{protocol}://bucket/nosuch", 1000, r"There is nothing at \w+://bucket/nosuch"),
        ("{protocol}://bucket/digits", 1000, r"\w+://bucket/digits has more than the allowed 1,000 bytes"),
        ("nosuch://bucket/digits", 1000, r"nosuch://bucket/digits cannot be reached"),
    ],
)
def test_what_is_wrong_with_an_object_store_is_said(store, bucket, protocol, address, limit, said):
    with pytest.raises(DatasetError, match=said):
        datasets.import_images(address.format(protocol=protocol), "digits", max_download_bytes=limit)


def test_a_name_that_leads_out_of_the_folder_is_refused(store, bucket, protocol, monkeypatch):
    folder = next(iter(bucket.find("bucket/digits"))).partition("digits/")[0]
    listed = {f"{folder}digits/../../../evil.png": {"size": 1}}
    with monkeypatch.context() as patch:
        patch.setattr(bucket, "find", lambda path, **options: listed)
        with pytest.raises(DatasetError, match=r"in '../../../evil.png', the path leads out"):
            datasets.import_images(f"{protocol}://bucket/digits", "digits")
    assert not list(Path(tempfile.gettempdir()).rglob("evil*"))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nosuch://user:secret@host/x.csv", r"nosuch://host/x.csv cannot be reached: Unsupported filesystem"),
        ("webdav://user:secret@host/x.csv", r"webdav://host/x.csv cannot be reached"),
        ("ftp://user:secret@127.0.0.1:{port}/x.csv", r"ftp://127.0.0.1:\d+/x.csv cannot be fetched: .*refused"),
    ],
)
def test_secrets_of_other_stores_get_nowhere_either(store, address, said):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(DatasetError, match=said) as caught:
            datasets.import_table(address.format(port=free.getsockname()[1]), "rows")
    assert "secret" not in "".join(traceback.format_exception_only(caught.value))
    assert "secret" not in str(caught.value.__cause__)
