"""Releases are whole or not there; access is what was asked for; nothing of a bad upload stays."""

import errno
import io
import json
import pwd

import pytest
from armillary_hub.apps import release_store
from armillary_hub.apps.access import Access
from armillary_hub.apps.release_store import ReleaseStore
from armillary_hub.apps.uploads import _check_model, _titled
from armillary_hub.web.errors import WebError
from armillary_kernels.release import Release
from pydantic import ValidationError
from support.onnx_models import brightness_model, digits_model, release


@pytest.fixture
def store(tmp_path):
    return ReleaseStore(tmp_path, team=False)


def about(**values):
    return Release.model_validate({**release(), "name": "digits", "owner": "ada", **values})


def save(store, content=b"model"):
    return store.save(about(), {"model.onnx": io.BytesIO(content), "app.ipynb": b"{}"})


def test_releases_are_numbered_and_the_current_one_is_switched(store, tmp_path):
    assert [save(store, content).number for content in (b"one", b"two")] == [1, 2]
    current = tmp_path / "digits" / "current"
    for number, content in ((1, b"one"), (2, b"two"), (1, b"one")):
        store.activate("digits", number)
        assert (current / "model.onnx").read_bytes() == content
    assert Release.read(current).number == 1
    assert store.numbers("digits") == [1, 2]


def test_files_of_a_release_are_read_only(store, tmp_path):
    save(store)
    for file in (tmp_path / "digits" / "releases" / "1").iterdir():
        assert file.stat().st_mode & 0o777 == 0o400


def test_a_full_disk_leaves_nothing(store, tmp_path, monkeypatch):
    save(store)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(release_store.os, "fsync", full)
    with pytest.raises(WebError, match="is full; nothing was published") as error:
        save(store)
    assert error.value.status == 507
    assert [path.name for path in (tmp_path / "digits" / "releases").iterdir()] == ["1"]


def test_unpublished_releases_are_kept(store, tmp_path):
    save(store)
    store.activate("digits", 1)
    store.archive("digits")
    (archived,) = (tmp_path / ".unpublished").iterdir()
    assert (archived / "current" / "model.onnx").read_bytes() == b"model"
    assert save(store).number == 1


def test_the_link_says_what_serves_next(store, tmp_path):
    assert store.current("digits") == 0
    save(store)
    assert store.current("digits") == 0
    store.activate("digits", 1)
    assert store.current("digits") == 1


@pytest.mark.team
def test_what_an_app_put_into_its_release_is_not_given_to_it(tmp_path, monkeypatch):
    """A link to another's file would be given away with it, where the machine allows such links."""
    nobody = pwd.getpwnam("nobody")
    monkeypatch.setattr(release_store.pwd, "getpwnam", lambda name: nobody)
    store = ReleaseStore(tmp_path, team=True)
    save(store)
    store.activate("digits", 1)
    folder, secret = tmp_path / "digits" / "releases" / "1", tmp_path / "secret"
    assert {path.stat().st_uid for path in (folder, *folder.iterdir())} == {nobody.pw_uid}
    secret.touch()
    (folder / "planted").hardlink_to(secret)
    store.activate("digits", 1)
    assert secret.stat().st_uid == 0


@pytest.mark.parametrize("name", ["", "Digits", "9lives", "-a", "a_b", "a/b", "..", "a" * 28])
def test_bad_names_are_refused(name):
    with pytest.raises(ValidationError):
        about(name=name)


@pytest.mark.parametrize(
    ("given", "users", "groups"),
    [
        ("me", (), ()),
        (None, (), ()),
        ("everyone", (), ("everyone",)),
        ({"users": ["bob"], "groups": ["lab"]}, ("bob",), ("lab",)),
        ({"users": ["bob"]}, ("bob",), ()),
    ],
)
def test_access(given, users, groups):
    access = Access.parse(given)
    assert (access.users, access.groups) == (users, groups)
    assert access.admits("bob", ("everyone",)) == (given not in ("me", None))


@pytest.mark.parametrize("given", ["all", ["bob"], {"people": ["bob"]}, {"users": "bob"}, 7])
def test_access_that_is_not_understood(given):
    with pytest.raises(WebError, match="is not understood"):
        Access.parse(given)


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (b"not a model", "is not an ONNX model"),
        (brightness_model(), "there are 10 class names"),
    ],
)
def test_models_that_do_not_fit(model, part):
    with pytest.raises(WebError, match=part):
        _check_model(io.BytesIO(model), about())


def test_a_model_that_fits():
    _check_model(io.BytesIO(digits_model()), about())


def test_the_notebook_gets_the_title():
    notebook = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}).encode()
    assert json.loads(_titled(notebook, about(title="数字")))["metadata"]["title"] == "数字"
    for wrong in (b"", b"[]", b'{"nbformat": 3, "cells": [], "metadata": {}}'):
        with pytest.raises(WebError, match="not a notebook of format 4"):
            _titled(wrong, about())
