"""A person with a browser that runs no scripts: cookies, forms with their XSRF tokens, a language."""

from __future__ import annotations

import html
import re

import httpx

PASSWORD = "correct horse battery staple"


class Visitor:
    """One browser session with a hub.

    Parameters
    ----------
    url
        The deployment's address, without a trailing slash.
    language
        What the browser asks for.
    """

    def __init__(self, url: str, language: str = "en") -> None:
        headers = {"Accept-Language": language, "Accept": "text/html", "User-Agent": "Mozilla/5.0 (a test)"}
        self.client = httpx.Client(base_url=url, headers=headers, follow_redirects=True, timeout=60)

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def get(self, path: str, **kwargs) -> httpx.Response:
        """Open a page."""
        return self.client.get(path, **kwargs)

    def submit(self, path: str, page: str | None = None, **fields: str) -> httpx.Response:
        """Fill in the form of a page (default: the one at the path itself) and send it to the path."""
        form = re.compile(r'name="_xsrf" value="([^"]+)"')
        # A page without a form: sent all the same, as by somebody who kept the page open since it had one.
        token = form.search(self.get(page or path).text) or form.search(self.get("/hub/login").text)
        return self.client.post(path, data={"_xsrf": html.unescape(token[1]) if token else "", **fields})

    def sign_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        """Sign in by the form."""
        return self.submit("/hub/login", username=name, password=password)

    def accept(self, link: str, password: str = PASSWORD, **fields: str) -> httpx.Response:
        """Open an invitation and set a password."""
        path = "/hub/invitation/" + link.rsplit("/", 1)[1]
        return self.submit(path, password=password, repeated=password, **fields)

    def invite(self, *names: str) -> dict[str, str]:
        """Add people on the People page, as an admin, and return each one's link."""
        return invitation_links(self.submit("/hub/people", action="add", names=" ".join(names)))

    @property
    def name(self) -> str | None:
        """Whom the hub takes this browser for."""
        found = re.search(r'<span class="name">([^<]+)</span>', self.get("/hub/home").text)
        return found[1] if found else None


def invitation_links(response: httpx.Response) -> dict[str, str]:
    """Return the links that the People page shows, by name."""
    found = re.findall(r'data-name="([^"]+)" readonly value="([^"]+)"', response.text)
    return {name: html.unescape(link) for name, link in found}
