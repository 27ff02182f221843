"""The pages of accounts: People for admins, invitations, and each person's own password."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from armillary_kernels.texts import translator
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.static import CacheControlStaticFilesHandler
from jupyterhub.user import User
from tornado.web import HTTPError, authenticated

from armillary_hub.accounts import people
from armillary_hub.accounts.errors import AccountsError, PasswordRefused, PeopleError
from armillary_hub.accounts.invitations import Invitation
from armillary_hub.accounts.look import STATIC
from armillary_hub.accounts.names import require_person_name
from armillary_hub.accounts.passwords import require_good_password
from armillary_hub.accounts.rules import language_of_request

_ = translator(__file__)

#: One after the other: the second sending of a form must not undo what the first one did.
_ACCEPTING = asyncio.Lock()


class Page(BaseHandler):
    """A page of the hub in the person's language. JupyterHub checks the XSRF token of each form."""

    @property
    def language(self) -> str:
        """The language that the browser asks for."""
        return language_of_request(self)

    def set_default_headers(self) -> None:
        """Keep pages with names and links out of caches and of other sites' logs."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")

    async def show(self, template: str, **values: Any) -> None:
        """Finish with a rendered template."""
        self.finish(await self.render_template(template, **values))

    def new_password(self, name: str) -> str:
        """Return the password that was typed twice into a form.

        Raises
        ------
        PasswordRefused
            If it is too easily guessed or the two differ.
        """
        password = self.get_argument("password", "", strip=False)
        require_good_password(password, name)
        if password != self.get_argument("repeated", "", strip=False):
            raise PasswordRefused("The two passwords differ. Type the same password twice.")
        return password


class PasswordPage(Page):
    """``/hub/password``: change one's own password."""

    @authenticated
    async def get(self) -> None:
        """Show the form."""
        await self.show("password.html")

    @authenticated
    async def post(self) -> None:
        """Change the password; sessions and tokens stay as they are, and the page says so."""
        name = self.current_user.name
        try:
            if not await self.authenticator.check_password(self, name, self.get_argument("old", "", strip=False)):
                raise PasswordRefused("The old password is wrong.")
            password = self.new_password(name)
        except AccountsError as error:
            self.set_status(400)
            await self.show("password.html", error=error.told(self.language))
            return
        except HTTPError as error:
            self.set_status(error.status_code)
            await self.show("password.html", error=error.log_message)
            return
        self.authenticator.passwords.set_hash(name, await self.authenticator.passwords.hash(password))
        self.log.info("%s changed the password", name)
        await self.show("password.html", changed=True)


class InvitationPage(Page):
    """``/hub/invitation/<token>``: set the first password, or a new one, and be signed in."""

    async def get(self, token: str) -> None:
        """Show the form; opening the link does not use it up."""
        invitation = self.authenticator.invitations.find(token)
        if invitation is None:
            await self.show_ended()
            return
        await self.show_form(invitation, invitation.name or "admin")

    async def post(self, token: str) -> None:
        """Set the password, use the invitation up, and sign the person in."""
        invitation = self.authenticator.invitations.find(token)
        if invitation is None:
            await self.show_ended()
            return
        name = invitation.name or self.get_argument("username", "")
        try:
            require_person_name(name)
            password = self.new_password(name)
            await self.accept(token, invitation, name, password)
        except AccountsError as error:
            self.set_status(400)
            await self.show_form(invitation, name, error.told(self.language))
            return

    async def accept(self, token: str, invitation: Invitation, name: str, password: str) -> None:
        """Redeem the invitation and sign in as the person."""
        hashed = await self.authenticator.passwords.hash(password)
        async with _ACCEPTING:
            redeemed = await self.redeem(token, invitation, name, hashed)
        # The form may have been sent twice, and the first sending have set this very password.
        if not redeemed and not await self.authenticator.passwords.verify(name, password):
            await self.show_ended()
            return
        self.log.info("%s accepted an invitation", name)
        await self.login_user({"username": name, "password": password})
        self.redirect(self.hub.base_url + "home")

    async def redeem(self, token: str, invitation: Invitation, name: str, hashed: str) -> bool:
        """Set the password, and make the first admin, all or nothing; returns False when the invitation has ended."""
        user, added = self.find_user(name), False
        if user is None and invitation.name is None:
            user, added = await people.add_person(self, name), True
        if user is None:
            return False
        if not self.authenticator.invitations.redeem(token, name, hashed):
            if added:
                await people.remove_person(self, user)
            return False
        if invitation.admin:
            people.set_admin(self, user, admin=True)
        return True

    async def show_form(self, invitation: Invitation, name: str, error: str = "") -> None:
        """Show the form, with the name to choose only for the first admin."""
        await self.show("invitation.html", invited=name, chosen=invitation.name is None, error=error)

    async def show_ended(self) -> None:
        """Say that the link was used or has expired."""
        self.set_status(404)
        await self.show("invitation.html", ended=True)


class PeoplePage(Page):
    """``/hub/people``: for admins."""

    async def prepare(self) -> None:
        """Refuse everybody who may not administer all users."""
        await super().prepare()
        if self.current_user and not self.has_scope("admin:users"):
            names = ", ".join(person.name for person in people.list_people(self) if person.admin)
            text = _(
                "Only admins can open the People page. Ask one of them: {names}.", language=self.language, names=names
            )
            raise HTTPError(403, text)

    @authenticated
    async def get(self) -> None:
        """List the people."""
        await self.show_people()

    @authenticated
    async def post(self) -> None:
        """Do one of the page's actions and show the page again."""
        actions: dict[str, Callable[[], Awaitable[None]]] = {
            "add": self.add,
            "invite": self.invite,
            "make-admin": self.make_admin,
            "end-admin": self.end_admin,
            "remove": self.remove,
        }
        action = actions.get(self.get_argument("action", ""))
        if action is None:
            raise HTTPError(400, "The form names no action.")
        try:
            await action()
        except AccountsError as error:
            self.set_status(400)
            typed = {"typed": self.get_argument("names", ""), "typed_admin": self.get_argument("admin", "") == "yes"}
            await self.show_people(error=error.told(self.language), **typed)

    async def add(self) -> None:
        """Add people, and show each one's invitation."""
        typed = self.get_argument("names", "")
        names, admin = people.split_names(typed), self.get_argument("admin", "") == "yes"
        if admin:
            self.require_admin()
        people.require_new_people(self, names, self.language)
        links: dict[str, str] = {}
        for name in names:
            try:
                await people.add_person(self, name, admin=admin)
            except AccountsError as error:
                self.set_status(400)
                await self.show_people(links=links, error=error.told(self.language))
                return
            self.log.info("%s added the person %s", self.current_user.name, name)
            links[name] = self.new_link(name)
        await self.show_people(links=links, added=names)

    async def invite(self) -> None:
        """Make a new invitation, by which the person sets a new password; the old password works until then."""
        name = self.chosen().name
        await self.show_people(links={name: self.new_link(name)})

    async def make_admin(self) -> None:
        """Make a person an admin."""
        self.require_admin()
        people.set_admin(self, self.chosen(), admin=True)
        await self.show_people()

    async def end_admin(self) -> None:
        """Make an admin an ordinary person."""
        self.require_admin()
        people.set_admin(self, self.chosen_other(), admin=False)
        await self.show_people()

    async def remove(self) -> None:
        """Remove a person."""
        user = self.chosen_other()
        if not self.has_scope("delete:users") or (user.admin and not self.current_user.admin):
            raise HTTPError(403, _("Only admins can do this.", language=self.language))
        name = user.name
        await people.remove_person(self, user)
        self.log.info("%s removed the person %s", self.current_user.name, name)
        await self.show_people(removed=name)

    def chosen(self) -> User:
        """Return the person that a button belongs to; apps are administered elsewhere."""
        name = self.get_argument("name", "")
        user = self.find_user(name)
        if user is None or all(person.name != name for person in people.list_people(self)):
            raise PeopleError("There is no person called '{name}'.", name=name)
        if user.admin:
            self.require_admin()
        return user

    def chosen_other(self) -> User:
        """Return the person that a button belongs to, who must not be oneself: so one admin always stays."""
        user = self.chosen()
        if user.name == self.current_user.name:
            raise PeopleError("Nobody can do this to themselves. Ask another admin.")
        return user

    def require_admin(self) -> None:
        """Refuse those who administer users without being admins: they cannot give more than they have."""
        if not self.current_user.admin:
            raise HTTPError(403, _("Only admins can do this.", language=self.language))

    def new_link(self, name: str) -> str:
        """Return a new invitation's address as this admin's browser reaches the hub; empty without invitations."""
        if not people.has_invitations(self.authenticator):
            return ""
        token = self.authenticator.invitations.create(name)
        public = self.settings.get("public_url")
        origin = f"{public.scheme}://{public.netloc}" if public else f"{self.request.protocol}://{self.request.host}"
        return f"{origin}{self.hub.base_url}invitation/{token}"

    async def show_people(self, **values: Any) -> None:
        """Show the page."""
        await self.show(
            "people.html",
            people=people.list_people(self),
            invitations=people.has_invitations(self.authenticator),
            links=values.pop("links", {}),
            **values,
        )


def shared_handlers() -> list[tuple[Any, ...]]:
    """Return the pages that every authenticator has."""
    static = (r"/armillary/(.*)", CacheControlStaticFilesHandler, {"path": str(STATIC)})
    return [(r"/people", PeoplePage), static]


def password_handlers() -> list[tuple[Any, ...]]:
    """Return the pages of sign-in by password."""
    return [(r"/password", PasswordPage), (r"/invitation/([\w-]{20,100})", InvitationPage)]
