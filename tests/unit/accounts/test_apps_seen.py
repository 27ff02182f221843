"""A page of the hub knows which app a request was about, and whose it is."""

from types import SimpleNamespace

import pytest
from armillary_hub.accounts.apps_seen import App, app_of_request
from armillary_hub.settings import Settings
from armillary_kernels.release import MANIFEST, Release


@pytest.fixture
def settings(tmp_path):
    settings = Settings(home=tmp_path)
    folder = settings.apps_dir / "digits" / "current"
    folder.mkdir(parents=True)
    release = Release(name="digits", title="Digits", class_names=("0", "1"), input={}, owner="ann", number=1)
    (folder / MANIFEST).write_text(release.model_dump_json())
    return settings


def seen(settings, path, client_id=b""):
    request = SimpleNamespace(path=path, query_arguments={"client_id": [client_id]} if client_id else {})
    return app_of_request(SimpleNamespace(request=request, authenticator=SimpleNamespace(settings=settings)))


@pytest.mark.parametrize("path", ["/hub/user/app-digits/", "/hub/user/app-digits/lab/x", "/hub/spawn/app-digits"])
def test_the_address_names_the_app(settings, path):
    assert seen(settings, path) == App("digits", "ann")


def test_the_sign_in_of_an_app_names_it(settings):
    assert seen(settings, "/hub/api/oauth2/authorize", b"jupyterhub-user-app-digits") == App("digits", "ann")


def test_an_app_without_a_release_has_no_known_owner(settings):
    assert seen(settings, "/hub/user/app-nosuch/") == App("nosuch", "")


@pytest.mark.parametrize(
    ("path", "client_id"),
    [("/hub/user/ann/", b""), ("/hub/people", b""), ("/hub/api/oauth2/authorize", b"service-apps")],
)
def test_other_requests_are_about_no_app(settings, path, client_id):
    assert seen(settings, path, client_id) is None
