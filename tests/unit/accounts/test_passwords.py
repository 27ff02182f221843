"""Passwords: hashing, rules, and what the store keeps."""

import base64
import hashlib

import pytest
from armillary_hub.accounts.database import engine_for
from armillary_hub.accounts.errors import PasswordRefused
from armillary_hub.accounts.passwords import PasswordStore, hash_password, is_password, require_good_password


@pytest.fixture
def store(tmp_path):
    return PasswordStore(engine_for(f"sqlite:///{tmp_path}/passwords.sqlite"))


def test_only_the_password_itself_matches_its_hash():
    hashed = hash_password("correct horse battery")
    assert is_password("correct horse battery", hashed)
    assert not is_password("correct horse batterz", hashed)
    assert not is_password("", hashed)


def test_the_same_password_is_hashed_differently_each_time_and_does_not_show():
    first, second = hash_password("correct horse battery"), hash_password("correct horse battery")
    assert first != second
    assert "horse" not in first


def test_a_password_typed_in_composed_or_decomposed_unicode_is_the_same():
    assert is_password("cafe\u0301 au lait noir", hash_password("caf\u00e9 au lait noir"))


def test_a_hash_with_other_parameters_still_matches():
    weaker = "scrypt$16$8$1$c2FsdHNhbHRzYWx0c2FsdA==$"
    hashed = hashlib.scrypt(b"old password", salt=b"saltsaltsaltsalt", n=16, r=8, p=1)
    assert is_password("old password", weaker + base64.b64encode(hashed).decode())


@pytest.mark.parametrize(
    "password", ["", "short", "ninechars", "aaaaaaaaaaaaaaa", "abababababab", "annannannann", "x" * 1025]
)
def test_passwords_that_are_easily_guessed_are_refused(password):
    with pytest.raises(PasswordRefused):
        require_good_password(password, "ann")


def test_a_long_password_of_words_is_good():
    require_good_password("correct horse battery", "ann")
    require_good_password("这是一个很长的中文密码呀", "ann")


async def test_the_store_knows_only_the_passwords_that_were_set(store):
    store.set_hash("ann", await store.hash("correct horse battery"))
    assert await store.verify("ann", "correct horse battery")
    assert not await store.verify("ann", "something else here")
    assert not await store.verify("bob", "correct horse battery")
    assert not await store.verify("ann", "x" * 5000)
    assert store.names() == {"ann"}


async def test_a_forgotten_password_lets_nobody_in(store):
    store.set_hash("ann", await store.hash("correct horse battery"))
    store.forget("ann")
    assert not await store.verify("ann", "correct horse battery")
    assert store.names() == set()
