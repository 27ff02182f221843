"""The rules hold for any authenticator, and none that lacks them lets anybody in."""

import pytest
from armillary_hub.accounts.configuration import apply_account_rules, require_account_rules
from armillary_hub.accounts.rules import AccountRules, with_account_rules
from armillary_hub.settings import Settings
from armillary_kernels.errors import ArmillaryError
from jupyterhub.auth import DummyAuthenticator
from tornado.web import HTTPError
from traitlets.config import Config


@pytest.fixture
def settings(tmp_path):
    settings = Settings(home=tmp_path)
    settings.make_folders()
    return settings


@pytest.fixture
def authenticator(settings):
    """JupyterHub's dummy authenticator, which lets everybody in, configured as an admin's own would be."""
    config = Config()
    apply_account_rules(config)
    return with_account_rules("dummy")(config=config, settings=settings, allow_all=True)


class Handler:
    """What the rules look at of a request."""

    class request:  # noqa: N801 - tornado's attribute
        headers = {"Accept-Language": "en"}  # noqa: RUF012


def test_an_authenticator_keeps_what_it_is_and_gains_the_rules():
    ruled = with_account_rules(DummyAuthenticator)
    assert issubclass(ruled, AccountRules)
    assert issubclass(ruled, DummyAuthenticator)
    assert with_account_rules(ruled) is ruled


def test_an_unknown_authenticator_is_named():
    with pytest.raises(ArmillaryError, match="No authenticator is called 'nosuch'"):
        with_account_rules("nosuch")


async def test_people_sign_in_and_apps_do_not(authenticator):
    assert (await authenticator.get_authenticated_user(Handler(), {"username": "Ann"}))["name"] == "ann"
    with pytest.raises(HTTPError) as refused:
        await authenticator.get_authenticated_user(Handler(), {"username": "app-digits"})
    assert refused.value.status_code == 403


@pytest.mark.parametrize("name", ["ann_b", "2ann", "ann/../bob", "x" * 32])
async def test_names_that_are_no_account_names_do_not_sign_in(authenticator, name):
    assert await authenticator.get_authenticated_user(Handler(), {"username": name}) is None


async def test_a_newcomer_whose_account_cannot_be_made_is_refused(authenticator, settings):
    authenticator.settings = Settings(home=settings.home, mode="team")
    with pytest.raises(HTTPError) as refused:
        await authenticator.get_authenticated_user(Handler(), {"username": "daemon"})
    assert refused.value.status_code == 403
    assert "Armillary did not make" in refused.value.log_message


async def test_groups_from_elsewhere_do_not_replace_everyone(authenticator):
    model = await authenticator.run_post_auth_hook(Handler(), {"name": "ann", "groups": ["physics"]})
    assert model["groups"] == ["everyone", "physics"]
    assert "groups" not in await authenticator.run_post_auth_hook(Handler(), {"name": "ann"})


def test_an_authenticator_without_the_rules_lets_nobody_in():
    with pytest.raises(HTTPError, match="with_account_rules"):
        require_account_rules(DummyAuthenticator(), None, {"name": "ann"})
