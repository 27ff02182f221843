"""Who sends a request to a hub service, as the hub itself says."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from armillary_hub.settings import Settings
from armillary_hub.web.sign_in import Identity, SignIn

if TYPE_CHECKING:
    from jupyterhub.services.auth import HubOAuth

__all__ = ["HubIdentity", "Identity"]

#: Seconds for which the hub's word on a token is believed without asking again.
CACHE_SECONDS = 30


class HubIdentity(SignIn):
    """Sign-in for a hub service, by token or by OAuth with the hub.

    Parameters
    ----------
    settings
        The deployment.
    service
        Name of the service; its secret of the same name is its token with the hub.
    public_paths
        Paths below the prefix that need no sign-in, such as ``"health"``; one that ends in ``/`` means all below it.
    xsrf_cookies
        Cookies that carry the XSRF token to the service's pages (see `armillary_hub.web.xsrf`).
    """

    def __init__(
        self,
        settings: Settings,
        service: str,
        public_paths: Collection[str] = (),
        xsrf_cookies: Sequence[str] = ("_xsrf",),
    ) -> None:
        def make_auth() -> HubOAuth:
            from jupyterhub.services.auth import HubOAuth

            return HubOAuth(
                api_url=settings.hub_api_url,
                api_token=settings.secret(service),
                base_url=prefix,
                oauth_client_id=f"service-{service}",
                access_scopes={f"access:services!service={service}"},
                cache_max_age=CACHE_SECONDS,
            )

        prefix = f"/services/{service}/"
        super().__init__(prefix, make_auth, public_paths=public_paths, xsrf_cookies=xsrf_cookies)
