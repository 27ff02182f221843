"""How people's servers and apps are started: as this account (solo), or as a Unix account each (team).

Limits: RLIMIT_AS would break CUDA and memory-mapped models, so ``mem_limit`` is not enforced here; the number of a
person's processes and threads is (``process_limit``, team mode), and nothing leaves a core dump.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from armillary_kernels.errors import ArmillaryError
from armillary_kernels.gpu_environment import NO_GPU
from armillary_kernels.shared_datasets import VARIABLE as SHARED_DATASETS
from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Any as AnyTrait
from traitlets import Float, Integer, Unicode, default

from armillary_hub.accounts.names import ROBOT_PREFIX, is_robot
from armillary_hub.accounts.rules import language_of_request
from armillary_hub.accounts.shared_folders import keep_in_step
from armillary_hub.accounts.unix_accounts import MOST_PROCESSES, account_of
from armillary_hub.app_server.environment import GPU_WAIT, GPU_WAIT_VARIABLE, MOST_VISITORS, VISITORS_VARIABLE
from armillary_hub.app_tokens import let_token_open_apps
from armillary_hub.settings import Settings
from armillary_hub.supervision.environment import DEPLOYMENT, PASSED_ON, search_path

_SERVER_CONFIG = Path(__file__).parent / "person" / "jupyter_server_config.py"
_LOG_BYTES = 5_000_000


class ArmillarySpawner(LocalProcessSpawner):
    """What solo and team have in common: the environment, the folders, and being found again after the hub's death."""

    settings = AnyTrait(help="The deployment's settings (`armillary_hub.settings.Settings`).")

    app_visitors = Integer(
        MOST_VISITORS,
        min=1,
        config=True,
        help="Visitors who may have an app's page open at a time; the kernel of each takes some 100 MB of memory.",
    )

    app_gpu_wait = Float(
        GPU_WAIT,
        min=0,
        config=True,
        help="Seconds that an app which was published with a GPU stands in the queue for it when it wakes, before its "
        "visitors are told to come back later.",
    )

    started = Float(
        0.0, help="When the server's process started, in seconds since the epoch: its number may be reused."
    )

    language = Unicode(help="The language that the person's browser last asked for at a start; empty before the first.")

    @default("settings")
    def _default_settings(self) -> Settings:
        return Settings.load()

    @default("env_keep")
    def _default_env_keep(self) -> list[str]:
        return list(PASSED_ON)

    @property
    def is_app(self) -> bool:
        """Whether this is an app's server, not a person's."""
        return is_robot(str(self.user.name))

    @property
    def person_home(self) -> Path:
        """The home folder of the person or app."""
        return self.settings.users_dir / self.user.name

    @property
    def runtime_dir(self) -> Path:
        """Folder of kernel sockets and the server's log, which only the account may enter."""
        return self.settings.runtime_dir(self.user.name)

    def account(self) -> pwd.struct_passwd:
        """Return the Unix account that the server runs as."""
        raise NotImplementedError

    # Starting -----------------------------------------------------------------------------------------

    async def start(self) -> tuple[str, int]:
        """Start the server; a cause that an admin can mend is told to the person who waits."""
        self.language = self._language_asked_for() or self.language
        try:
            self._make_runtime_dir(self.account())
            if not self.is_app:
                groups = [group.name for group in self.user.groups]
                await asyncio.to_thread(keep_in_step, self.settings, self.user.name, groups)
                let_token_open_apps(self.db, self.api_token)
            address = await super().start()
        except (ArmillaryError, OSError) as error:
            raise _told(error) from error
        with contextlib.suppress(psutil.NoSuchProcess):
            self.started = psutil.Process(self.pid).create_time()
        return address

    def _language_asked_for(self) -> str:
        """Return the language of the person's own browser, by the rule of the hub's pages.

        Empty when something else starts the server: an admin, a service, a script.
        """
        asked = self.handler is not None and self.handler.current_user is self.user
        if not asked or "Accept-Language" not in self.handler.request.headers:
            return ""
        return language_of_request(self.handler)

    def _make_runtime_dir(self, account: pwd.struct_passwd) -> None:
        folder = self.runtime_dir
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        if os.geteuid() == 0:
            os.chown(folder, account.pw_uid, account.pw_gid)

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Add what depends on the account."""
        account = self.account()
        env.update(
            USER=account.pw_name,
            LOGNAME=account.pw_name,
            HOME=str(self.person_home),
            SHELL="/bin/bash" if self.is_app else account.pw_shell or "/bin/bash",
        )
        return env

    def get_env(self) -> dict[str, str]:
        """Return the server's whole environment: an allow-list, the hub's variables and the addresses of services."""
        env = super().get_env()
        settings = self.settings
        env.update(
            {
                "PATH": search_path(settings.environment_dir),
                "ARMILLARY_PUBLIC_URL": settings.public_url,
                "ARMILLARY_POOL_URL": settings.direct_url("gpu-pool"),
                "ARMILLARY_GATEWAY_URL": settings.service_url("dask-gateway"),
                "ARMILLARY_APPS_URL": settings.service_url("apps"),
                "MLFLOW_TRACKING_URI": settings.service_url("mlflow"),
                "MLFLOW_TRACKING_TOKEN": env["JUPYTERHUB_API_TOKEN"],
                # MLflow's experiment 0 belongs to nobody; this name leads to one of the person's own.
                "MLFLOW_EXPERIMENT_NAME": "Default",
                "JUPYTER_RUNTIME_DIR": str(self.runtime_dir),
                # Kernelspecs that do not ask for GPUs (python3, a person's own) get none, rather than all.
                "JUPYTER_DEFAULT_PROVISIONER_NAME": "armillary-provisioner",
                # Nor does a terminal, or an app before it has leased one: what leases GPUs says which ones it has.
                **NO_GPU,
                DEPLOYMENT: str(settings.home),
            }
        )
        if self.is_app:
            env[VISITORS_VARIABLE] = str(self.app_visitors)
            env[GPU_WAIT_VARIABLE] = str(self.app_gpu_wait)
            env["ARMILLARY_RELEASE"] = str(settings.apps_dir / self.user.name.removeprefix(ROBOT_PREFIX) / "current")
        else:
            env[SHARED_DATASETS] = str(settings.shared_dir)
            if self.language:
                env.setdefault("ARMILLARY_LANGUAGE", self.language)  # the admin's own `Spawner.environment` wins
        return env

    @default("cmd")
    def _default_cmd(self) -> list[str]:
        module = "armillary_hub.app_server" if self.is_app else "jupyterhub.singleuser"
        # -P: a file of the person's own in the home folder, named like a module of Python's, must not be imported.
        return [sys.executable, "-P", "-m", module]

    def get_args(self) -> list[str]:
        """Return the arguments: an app's server takes none."""
        return [] if self.is_app else [f"--config={_SERVER_CONFIG}", *super().get_args()]

    def make_preexec_fn(self, _name: str) -> Callable[[], None]:
        """Return what the new process does before it becomes the server; all look-ups are made beforehand."""
        become = self.become()
        home, log = str(self.person_home), str(self.runtime_dir / "server.log")

        def preexec() -> None:
            become()
            os.umask(0o077)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.chdir(home)
            # As the account itself, or a link planted there would be followed with the hub's rights.
            _log_to(log)

        return preexec

    def become(self) -> Callable[[], None]:
        """Return a function that gives up the hub's rights in the new process."""
        raise NotImplementedError

    # Being found again --------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Return what a later hub needs to find the process again."""
        known = {"started": self.started, "language": self.language}
        return {**super().get_state(), **{name: value for name, value in known.items() if value}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over the process of an earlier hub."""
        super().load_state(state)
        self.started = state.get("started", 0.0)
        self.language = state.get("language", "")

    def clear_state(self) -> None:
        """Forget the process, but not the person's language."""
        super().clear_state()
        self.started = 0.0

    async def poll(self) -> int | None:
        """Return None while the server runs; a zombie, or another process with its number, is not the server."""
        if self.proc is None and self.pid and not self._is_the_process():
            self.clear_state()
            return 0
        return await super().poll()

    def _is_the_process(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            same = not self.started or abs(process.create_time() - self.started) < 1.0
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class SoloSpawner(ArmillarySpawner):
    """Everybody's server runs as the account that started the deployment, each in a home folder of its own."""

    def account(self) -> pwd.struct_passwd:
        """Return the deployment's own account."""
        return pwd.getpwuid(os.geteuid())

    async def start(self) -> tuple[str, int]:
        """Start the server, in a home folder made when it is missing."""
        self.person_home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return await super().start()

    def become(self) -> Callable[[], None]:
        """Return a function that does nothing."""
        return lambda: None


class TeamSpawner(ArmillarySpawner):
    """Everybody's server runs as the Unix account of the same name, which the authenticator made."""

    process_limit = Integer(
        MOST_PROCESSES,
        min=0,
        config=True,
        help="Processes and threads that one person may have at a time (RLIMIT_NPROC); 0 for no limit.",
    )

    def account(self) -> pwd.struct_passwd:
        """Return the person's Unix account.

        Raises
        ------
        armillary_hub.accounts.unix_accounts.AccountError
            If there is none, or Armillary did not make it.
        """
        return account_of(self.settings, self.user.name)

    def become(self) -> Callable[[], None]:
        """Return a function that takes on the person's account for good."""
        account = self.account()
        groups = os.getgrouplist(account.pw_name, account.pw_gid)
        limit = self.process_limit

        def become() -> None:
            if limit:
                resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
            os.setgroups(groups)
            os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
            os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)

        return become


def _log_to(path: str) -> None:
    """Send the process's output to a file of its own: it outlives the hub, and so must its output."""
    with contextlib.suppress(FileNotFoundError):
        if os.lstat(path).st_size > _LOG_BYTES:
            os.replace(path, f"{path}.1")  # noqa: PTH105 - between fork and exec: as little Python as can be
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _told(error: Exception) -> Exception:
    """Give an error the text that JupyterHub shows on the page of a failed start."""
    error.jupyterhub_message = str(error)  # type: ignore[attr-defined] # JupyterHub's own protocol
    return error
