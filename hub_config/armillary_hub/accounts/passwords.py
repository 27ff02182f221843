"""Passwords: hashed with scrypt, which needs 32 MiB for each guess, and compared in constant time.

Parameters are those of the OWASP password storage cheat sheet (N=2^15, r=8, p=3). They are kept with each hash, so
that they can be raised without locking anyone out. Rules for passwords follow NIST SP 800-63B: a length, no
composition rules, nothing that is easily guessed from the name.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import unicodedata
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from armillary_hub.accounts.database import InvitationRow, PasswordRow, now
from armillary_hub.accounts.errors import PasswordRefused

SHORTEST = 10
LONGEST = 1024

COST, BLOCK_SIZE, PARALLELISM = 2**15, 8, 3

# Two at a time: a burst of sign-ins can take neither all cores nor all memory from the hub.
_hashing = ThreadPoolExecutor(max_workers=2, thread_name_prefix="scrypt")


def _scrypt(password: str, salt: bytes, cost: int, block_size: int, parallelism: int) -> bytes:
    # NFKC: the same password typed on two keyboards is the same bytes.
    typed = unicodedata.normalize("NFKC", password).encode()
    memory = 128 * block_size * (cost + parallelism + 2)
    return hashlib.scrypt(typed, salt=salt, n=cost, r=block_size, p=parallelism, maxmem=memory)


def hash_password(password: str) -> str:
    """Return ``scrypt$N$r$p$salt$hash``, salt and hash in base64."""
    salt = secrets.token_bytes(16)
    hashed = _scrypt(password, salt, COST, BLOCK_SIZE, PARALLELISM)
    coded = [base64.b64encode(part).decode() for part in (salt, hashed)]
    return "$".join(["scrypt", str(COST), str(BLOCK_SIZE), str(PARALLELISM), *coded])


def is_password(password: str, hashed: str) -> bool:
    """Tell whether ``password`` is the one that was hashed."""
    _scheme, cost, block_size, parallelism, salt, expected = hashed.split("$")
    found = _scrypt(password, base64.b64decode(salt), int(cost), int(block_size), int(parallelism))
    return hmac.compare_digest(found, base64.b64decode(expected))


# What the password of an unknown name is compared with, so that the answer takes as long as for a known one.
_NOBODY = f"scrypt${COST}${BLOCK_SIZE}${PARALLELISM}$" + "$".join([base64.b64encode(bytes(16)).decode()] * 2)


def require_good_password(password: str, name: str) -> None:
    """Refuse a password that is too short, too long, or made of one character or of the name.

    Raises
    ------
    PasswordRefused
        With the reason.
    """
    if len(password) < SHORTEST:
        raise PasswordRefused("The password needs at least {n} characters.", n=SHORTEST)
    if len(password) > LONGEST:
        raise PasswordRefused("The password can have {n} characters at most.", n=LONGEST)
    if len(set(password)) < 4 or (name and password.lower().replace(name, "") == ""):
        raise PasswordRefused("That password is too easily guessed. Choose another one.")


class PasswordStore:
    """The passwords of one deployment.

    Parameters
    ----------
    engine
        Of the accounts' database.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def hash(self, password: str) -> str:
        """Hash a password without holding up the hub."""
        return await asyncio.get_running_loop().run_in_executor(_hashing, hash_password, password)

    async def verify(self, name: str, password: str) -> bool:
        """Tell whether this is the person's password; takes as long for names that have none."""
        with Session(self.engine) as session:
            row = session.get(PasswordRow, name)
            hashed = row.hashed if row else _NOBODY
        typed = password if len(password) <= LONGEST else ""
        matches = await asyncio.get_running_loop().run_in_executor(_hashing, is_password, typed, hashed)
        return matches and row is not None

    def set_hash(self, name: str, hashed: str) -> None:
        """Replace the person's password by one that `hash` returned; their invitations end with it."""
        with Session(self.engine) as session, session.begin():
            session.merge(PasswordRow(name=name, hashed=hashed, changed=now()))
            session.query(InvitationRow).filter_by(name=name).delete()

    def names(self) -> set[str]:
        """Return the names that have a password."""
        with Session(self.engine) as session:
            return {name for (name,) in session.query(PasswordRow.name)}

    def forget(self, name: str) -> None:
        """Remove the person's password."""
        with Session(self.engine) as session, session.begin():
            session.query(PasswordRow).filter_by(name=name).delete()
