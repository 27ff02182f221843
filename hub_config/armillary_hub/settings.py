"""What a deployment is: its folder, address, mode and ports. The one place that knows paths and ports.

`armillary up` decides the settings and writes them to ``<home>/settings.json``; every process of the
deployment gets ``ARMILLARY_HOME`` in its environment and reads them from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from armillary_kernels.errors import ArmillaryError

#: Ports above the public one, which is offset 0. All but the public one serve loopback only, always.
PORT_OFFSETS = {
    "public": 0,  # Traefik, what people's browsers open
    "hub": 1,  # JupyterHub's API and pages
    "traefik": 2,  # Traefik's own API
    "gateway-web": 3,  # Dask Gateway's HTTP proxy: dashboards and its API
    "gateway-scheduler": 4,  # Dask Gateway's TLS proxy: client to scheduler
    "gateway-server": 5,  # Dask Gateway's API server
    "gpu-pool": 6,
    "dask-gateway": 7,  # our front of Dask Gateway: the hub's sign-in before dashboards
    "mlflow": 8,
    "apps": 9,
}

#: Hub services that a browser or a program reaches under ``/services/<name>/``.
WEB_SERVICES = ("gpu-pool", "dask-gateway", "mlflow", "apps")

#: A Unix socket's path holds 107 bytes; kernels put about 66 of them below the home.
LONGEST_HOME = 41

#: Bytes of a Unix socket's path on Linux, without the closing zero.
LONGEST_SOCKET = 107

#: What Jupyter appends to a runtime folder: ``/kernel-<36 characters>-ipc-<1 or 2 digits>``.
_KERNEL_SOCKET = len("/kernel-") + 36 + len("-ipc-12")

Mode = Literal["solo", "team"]


class NoDeployment(ArmillaryError):  # noqa: N818 - an answer, which `armillary up` and `doctor` expect
    """There is no deployment in a folder."""


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file so that readers see the old or the new text, never a part (write aside, fsync, rename)."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)


def bracketed(host: str) -> str:
    """Return a host as it stands before a port: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def default_home() -> Path:
    """Return ``$ARMILLARY_HOME``, else ``/var/lib/armillary`` for root and ``~/.armillary`` for anyone else."""
    if chosen := os.environ.get("ARMILLARY_HOME"):
        return Path(chosen).absolute()
    return Path("/var/lib/armillary") if os.geteuid() == 0 else Path.home() / ".armillary"


@dataclass(frozen=True)
class Settings:
    """One deployment.

    Attributes
    ----------
    home
        The folder that holds all its state.
    port
        The public port; the nine after it are used on loopback (`PORT_OFFSETS`).
    host
        The address that Traefik binds. Anything but loopback is for team mode only.
    mode
        ``"solo"``: every hub user is the account that started it. ``"team"`` (root): one Unix account each.
    simulate_gpus
        Number of pretend GPUs where there is no real one; 0 for none.
    config
        JupyterHub's configuration file; empty for ``<home>/config/jupyterhub_config.py``.
    """

    home: Path
    port: int = 8000
    host: str = "127.0.0.1"
    mode: Mode = "solo"
    simulate_gpus: int = 0
    config: str = ""

    @classmethod
    def load(cls, home: Path | None = None) -> Settings:
        """Read the settings of the deployment in ``home`` (default: `default_home`).

        Raises
        ------
        ArmillaryError
            If there is no deployment, or its settings cannot be read.
        """
        home = home or default_home()
        try:
            return cls(home=home, **json.loads((home / "settings.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise NoDeployment(f"There is no deployment in {home}.", "Start one with `armillary up`.") from None
        except PermissionError:
            raise ArmillaryError(
                f"The deployment in {home} belongs to another account.", "Act as that account, or use sudo."
            ) from None
        except (OSError, ValueError, TypeError) as error:  # TypeError: another version's
            raise ArmillaryError(f"{home / 'settings.json'} cannot be read: {error}.", "Restore it.") from error

    def save(self) -> None:
        """Write the settings for the deployment's other processes."""
        stored = {name: value for name, value in asdict(self).items() if name != "home"}
        write_atomically(self.home / "settings.json", json.dumps(stored, indent=2), mode=0o644)

    @property
    def config_file(self) -> Path:
        """JupyterHub's configuration, the idle culler's too."""
        return Path(self.config) if self.config else self.config_dir / "jupyterhub_config.py"

    @property
    def gateway_config_file(self) -> Path:
        """Dask Gateway's configuration."""
        return self.config_dir / "dask_gateway_config.py"

    # Folders ------------------------------------------------------------------------------------------

    @property
    def config_dir(self) -> Path:
        """The admin's configuration files, copied there on the first start."""
        return self.home / "config"

    @property
    def state_dir(self) -> Path:
        """Databases of the hub and its services; nobody but the deployment's account may enter."""
        return self.home / "state"

    @property
    def secrets_dir(self) -> Path:
        """Tokens and keys, one file each."""
        return self.home / "secrets"

    @property
    def logs_dir(self) -> Path:
        """One log file for each process of the deployment."""
        return self.home / "logs"

    @property
    def run_dir(self) -> Path:
        """Sockets and runtime files; people's are in ``run/<user>``, which only that account may enter."""
        return self.home / "run"

    def runtime_dir(self, user: str) -> Path:
        """Return the folder of a person's kernel sockets, its name shortened where the path would be too long."""
        room = LONGEST_SOCKET - _KERNEL_SOCKET - len(str(self.run_dir)) - 1
        if len(user) <= room:
            return self.run_dir / user
        return self.run_dir / f"{user[: room - 7]}-{hashlib.sha256(user.encode()).hexdigest()[:6]}"

    @property
    def users_dir(self) -> Path:
        """Home folders: ``users/<user>``, robot accounts' too."""
        return self.home / "users"

    @property
    def apps_dir(self) -> Path:
        """Releases: ``apps/<app>/releases/<number>``, and ``apps/<app>/current``, a link to one of them."""
        return self.home / "apps"

    @property
    def shared_dir(self) -> Path:
        """Datasets that people share: ``shared/<Unix group>/<owner>/<name>/<version>``."""
        return self.home / "shared"

    @property
    def proxy_dir(self) -> Path:
        """Traefik's configuration and the hub's routes."""
        return self.state_dir / "proxy"

    @property
    def artifacts_dir(self) -> Path:
        """MLflow's artifacts."""
        return self.state_dir / "artifacts"

    @property
    def environment_dir(self) -> Path:
        """The Python environment that everything runs in."""
        return Path(sys.prefix)

    @property
    def share_dir(self) -> Path:
        """Notebooks and configuration that the distribution brings: guides, jobs, apps, config."""
        return self.environment_dir / "share" / "armillary"

    def make_folders(self) -> None:
        """Create the folders of the deployment, each with the narrowest mode that works."""
        entered_by_all = 0o711 if self.mode == "team" else 0o700
        self.home.mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o755 if self.mode == "team" else 0o700)
        for folder in (self.config_dir, self.state_dir, self.secrets_dir, self.logs_dir):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)
        for folder in (self.run_dir, self.users_dir, self.apps_dir, self.shared_dir):
            folder.mkdir(exist_ok=True)
            folder.chmod(entered_by_all)

    # State and secrets --------------------------------------------------------------------------------

    def database_url(self, name: str) -> str:
        """Return the SQLAlchemy URL of a service's database."""
        return f"sqlite:///{self.state_dir / name}.sqlite"

    def secret(self, name: str) -> str:
        """Return a secret of 64 hexadecimal digits, made when it is first asked for."""
        path = self.secrets_dir / name
        if not path.exists():
            aside = path.with_name(f".{name}.{secrets.token_hex(4)}")
            write_atomically(aside, secrets.token_hex(32))
            # Two programs may ask at the same moment: the first one's stays.
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(aside)
            aside.unlink()
        return path.read_text(encoding="utf-8").strip()

    # Addresses ----------------------------------------------------------------------------------------

    def port_of(self, name: str) -> int:
        """Return the port of one of `PORT_OFFSETS`."""
        return self.port + PORT_OFFSETS[name]

    @property
    def public_url(self) -> str:
        """The address as a browser on this machine types it."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared, not bound
        return f"http://{bracketed(host)}:{self.port}"

    @property
    def hub_api_url(self) -> str:
        """Base of JupyterHub's REST API, straight to the hub."""
        return f"http://127.0.0.1:{self.port_of('hub')}/hub/api"

    def direct_url(self, service: str) -> str:
        """Return a web service's address straight at its port, with its prefix and no trailing slash."""
        return f"http://127.0.0.1:{self.port_of(service)}/services/{service}"

    def service_url(self, service: str) -> str:
        """Return a web service's address through the proxy, without a trailing slash."""
        return f"{self.public_url}/services/{service}"
