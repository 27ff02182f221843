"""What the hub's spawner tells an app's server, by environment variables."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from armillary_kernels.errors import ArmillaryError

#: Visitors who may have an app's page open at a time, where nobody says otherwise.
MOST_VISITORS = 20

#: Seconds that an app stands in the queue for its GPU, where nobody says otherwise.
GPU_WAIT = 600.0

#: Tell an app's server other numbers.
VISITORS_VARIABLE, GPU_WAIT_VARIABLE = "ARMILLARY_APP_VISITORS", "ARMILLARY_APP_GPU_WAIT"


@dataclass(frozen=True)
class AppEnvironment:
    """The surroundings of one app's server.

    Attributes
    ----------
    user
        The robot user, ``app-<name>``.
    prefix
        Path of the app, with slashes at both ends.
    host, port
        Address to listen on.
    release_dir
        Folder of the release to serve, links resolved.
    runtime_dir
        Folder for sockets, which only this account may enter.
    activity_url
        Where to tell the hub that the app is being used.
    most_visitors
        How many visitors may have the page open at a time.
    gpu_wait
        Seconds that the app stands in the queue for its GPU.
    """

    user: str
    prefix: str
    host: str
    port: int
    release_dir: Path
    runtime_dir: Path
    activity_url: str
    most_visitors: int = MOST_VISITORS
    gpu_wait: float = GPU_WAIT

    @classmethod
    def read(cls) -> AppEnvironment:
        """Return what this process was started with.

        Raises
        ------
        ArmillaryError
            When a variable is missing: the hub did not start this process.
        """
        env = os.environ
        try:
            address = urlsplit(env["JUPYTERHUB_SERVICE_URL"])
            return cls(
                user=env["JUPYTERHUB_USER"],
                prefix=env["JUPYTERHUB_SERVICE_PREFIX"],
                host=address.hostname or "127.0.0.1",
                port=address.port or 0,
                release_dir=Path(env["ARMILLARY_RELEASE"]).resolve(),
                runtime_dir=Path(env["JUPYTER_RUNTIME_DIR"]),
                activity_url=env.get("JUPYTERHUB_ACTIVITY_URL", ""),
                most_visitors=int(env.get(VISITORS_VARIABLE) or MOST_VISITORS),
                gpu_wait=float(env.get(GPU_WAIT_VARIABLE) or GPU_WAIT),
            )
        except KeyError as missing:
            raise ArmillaryError(f"The environment lacks {missing}.", "The hub starts this program.") from None

    @property
    def endpoint_socket(self) -> Path:
        """Where the page's kernels reach the model, without tokens."""
        return self.runtime_dir / "endpoint.sock"

    @property
    def page_socket(self) -> Path:
        """Where Voilà listens."""
        return self.runtime_dir / "page.sock"

    @property
    def has_own_account(self) -> bool:
        """Whether the app runs as a Unix account of its own (team mode)."""
        return pwd.getpwuid(os.geteuid()).pw_name == self.user
