"""Invitations: a link that lets one person set their password, once, within a few days.

The token is shown once, to the admin who hands it over; only its SHA-256 is kept, so that reading the database
lets nobody in. (A token has 256 random bits: a slow hash would add nothing.) A new invitation for a person ends
the older ones.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from armillary_hub.accounts.database import InvitationRow, PasswordRow, engine_for, now
from armillary_hub.settings import Settings

LIFETIME = timedelta(days=7)


@dataclass(frozen=True)
class Invitation:
    """An invitation that can still be used.

    Attributes
    ----------
    name
        Whom it is for; None for the first admin, who chooses a name.
    admin
        Whether the person becomes an admin by it.
    expires
        In UTC.
    """

    name: str | None
    admin: bool
    expires: datetime


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class InvitationStore:
    """The invitations of one deployment.

    Parameters
    ----------
    engine
        Of the accounts' database.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def create(self, name: str | None, *, admin: bool = False, lifetime: timedelta = LIFETIME) -> str:
        """Return the token of a new invitation; the person's older ones end."""
        token, created = secrets.token_urlsafe(32), now()
        row = InvitationRow(digest=_digest(token), name=name, admin=admin, created=created, expires=created + lifetime)
        with Session(self.engine) as session, session.begin():
            session.query(InvitationRow).filter_by(name=name).delete()
            session.add(row)
        return token

    def find(self, token: str) -> Invitation | None:
        """Return the invitation of a token, or None when it is unknown, used or expired."""
        with Session(self.engine) as session:
            row = session.get(InvitationRow, _digest(token))
            if row is None or row.expires <= now():
                return None
            return Invitation(row.name, row.admin, row.expires)

    def redeem(self, token: str, name: str, hashed: str) -> bool:
        """Use the invitation up and set the person's hashed password, both or neither.

        Returns False when somebody else was faster or the invitation expired.
        """
        with Session(self.engine) as session, session.begin():
            unused = session.query(InvitationRow).filter_by(digest=_digest(token))
            if unused.filter(InvitationRow.expires > now()).delete() != 1:
                return False
            session.query(InvitationRow).filter_by(name=name).delete()
            session.merge(PasswordRow(name=name, hashed=hashed, changed=now()))
        return True

    def pending(self) -> dict[str, Invitation]:
        """Return the newest invitation of each person who has one, expired ones too."""
        with Session(self.engine) as session:
            rows = session.query(InvitationRow).filter(InvitationRow.name.is_not(None))
            return {row.name: Invitation(row.name, row.admin, row.expires) for row in rows if row.name}

    def forget(self, name: str) -> None:
        """Remove the person's invitations."""
        with Session(self.engine) as session, session.begin():
            session.query(InvitationRow).filter_by(name=name).delete()


def link(settings: Settings, token: str) -> str:
    """Return the address that the invited person opens."""
    return f"{settings.public_url}/hub/invitation/{token}"


def first_admin_link(settings: Settings) -> str | None:
    """Return a new link by which the first admin chooses a name and a password; links given before end.

    Returns None when somebody has a password already: only an admin can have let them in.
    """
    engine = engine_for(settings.database_url("passwords"))
    with Session(engine) as session:
        if session.query(PasswordRow).first() is not None:
            return None
    return link(settings, InvitationStore(engine).create(None, admin=True))


def recovery_link(settings: Settings, name: str) -> str:
    """Return a link by which a person who forgot the password sets a new one, for the machine's administrator."""
    return link(settings, InvitationStore(engine_for(settings.database_url("passwords"))).create(name))


def opens(settings: Settings, address: str) -> bool:
    """Return whether an invitation's link opens at the running hub; with another authenticator none does.

    Raises
    ------
    httpx.HTTPError
        If the hub does not answer.
    """
    path = address.removeprefix(settings.public_url)
    # Opening a link does not use it up.
    answer = httpx.get(f"http://127.0.0.1:{settings.port_of('hub')}{path}", timeout=10, trust_env=False)
    return answer.status_code != httpx.codes.NOT_FOUND and answer.raise_for_status().is_success
