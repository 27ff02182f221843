"""Invitations: once, in time, and readable by nobody who reads the database."""

from dataclasses import replace
from datetime import timedelta

import pytest
from armillary_hub.accounts.database import engine_for
from armillary_hub.accounts.invitations import InvitationStore, first_admin_link, link, opens, recovery_link
from armillary_hub.accounts.passwords import PasswordStore
from armillary_hub.settings import PORT_OFFSETS, Settings
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from support.asgi import running


@pytest.fixture
def settings(tmp_path):
    settings = Settings(home=tmp_path / "home")
    settings.make_folders()
    return settings


@pytest.fixture
def store(settings):
    return InvitationStore(engine_for(settings.database_url("passwords")))


def names_with_passwords(store):
    return PasswordStore(store.engine).names()


def test_an_invitation_sets_one_password_once(store):
    token = store.create("ann")
    assert store.find(token).name == "ann"
    assert store.redeem(token, "ann", "hash")
    assert names_with_passwords(store) == {"ann"}
    assert store.find(token) is None
    assert not store.redeem(token, "ann", "another hash")


def test_a_new_invitation_ends_the_older_one(store):
    older, newer, other = store.create("ann"), store.create("ann"), store.create("bob")
    assert store.find(older) is None
    assert store.find(newer)
    assert store.find(other)


def test_an_expired_invitation_does_nothing(store):
    token = store.create("ann", lifetime=timedelta(seconds=-1))
    assert store.find(token) is None
    assert not store.redeem(token, "ann", "hash")
    assert names_with_passwords(store) == set()
    assert "ann" in store.pending(), "the People page shows that it expired"


def test_unknown_tokens_do_nothing(store):
    store.create("ann")
    assert store.find("x" * 43) is None
    assert not store.redeem("x" * 43, "ann", "hash")


def test_the_database_holds_no_token(store, settings):
    token = store.create("ann")
    assert token.encode() not in (settings.state_dir / "passwords.sqlite").read_bytes()


def test_a_password_set_otherwise_ends_the_invitation(store):
    token = store.create("ann")
    PasswordStore(store.engine).set_hash("ann", "hash")
    assert store.find(token) is None


def test_the_first_admin_is_invited_until_somebody_has_a_password(settings, store):
    first, second = first_admin_link(settings), first_admin_link(settings)
    token = second.rsplit("/", 1)[1]
    assert second == f"{settings.public_url}/hub/invitation/{token}"
    assert store.find(first.rsplit("/", 1)[1]) is None, "the link of an earlier start ends"
    invitation = store.find(token)
    assert invitation.name is None
    assert invitation.admin
    assert store.redeem(token, "ada", "hash")
    assert first_admin_link(settings) is None


def test_a_recovery_link_is_for_one_person_and_makes_nobody_an_admin(settings, store):
    invitation = store.find(recovery_link(settings, "ada").rsplit("/", 1)[1])
    assert (invitation.name, invitation.admin) == ("ada", False)


def test_a_link_opens_where_the_hub_has_the_page(settings):
    pages = Starlette(routes=[Route("/hub/invitation/known", lambda request: PlainTextResponse("Welcome"))])
    with running(pages) as port:
        there = replace(settings, port=port - PORT_OFFSETS["hub"])
        assert opens(there, link(there, "known"))
        assert not opens(there, link(there, "unknown"))
