"""A real deployment for tests: `armillary up` in a process of its own, on free ports, in a short home below /tmp."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
from armillary_hub.settings import Settings
from armillary_hub.supervision.processes import processes_of, sweep
from armillary_hub.supervision.supervisord import Supervisor

from support.ports import free_port

# The hub under test with one service more, which may do everything: tests act through it.
_CONFIG = """
c = get_config()
import armillary_hub
armillary_hub.configure(c)
c.JupyterHub.services.append({{"name": "tests", "api_token": "{token}", "admin": True}})
c.JupyterHub.load_roles.append({{"name": "tests", "services": ["tests"], "scopes": [
    "admin:users", "admin:servers", "admin:groups", "tokens", "access:servers", "access:services", "shares",
    "read:hub", "list:services", "read:services", "proxy", "inherit",
]}})
{lines}
"""


def wait_for(condition: Callable[[], Any], patience: float = 60.0, what: str = "") -> Any:
    """Return the first true result of a condition; fail when there is none in time."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError, OSError):
            if result := condition():
                return result
        time.sleep(0.1)
    raise AssertionError(f"Not within {patience} s: {what or condition}")


@dataclass
class Deployment:
    """A running deployment."""

    home: Path
    port: int
    settings: Settings
    process: subprocess.Popen[bytes]
    command: list[str]
    environment: dict[str, str]
    account: pwd.struct_passwd
    admin_token: str = field(repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        """What `armillary up` has printed so far."""
        return (self.home.parent / "up.log").read_text()

    def admin_invitation(self) -> str:
        """Return the link of the first start."""
        return re.findall(r"http://\S+/hub/invitation/\S+", self.output)[-1]

    # The hub's API ------------------------------------------------------------------------------------

    def request(self, method: str, path: str, token: str | None = None, **options: Any) -> httpx.Response:
        """Call the hub's REST API (``path`` below /hub/api), as the tests' own service unless a token is given."""
        headers = {"Authorization": f"Bearer {token or self.admin_token}"}
        return httpx.request(method, f"{self.url}/hub/api{path}", headers=headers, timeout=60, **options)

    def add_user(self, user: str, admin: bool = False) -> None:
        """Add a person, if there is none of that name."""
        response = self.request("POST", f"/users/{user}", json={"admin": admin})
        if response.status_code != 409:
            response.raise_for_status()

    def remove_user(self, user: str) -> None:
        """Stop a person's server and remove the person, the account with it."""
        self.stop_server(user)
        self.request("DELETE", f"/users/{user}").raise_for_status()

    def token(self, user: str, scopes: list[str] | None = None) -> str:
        """Return a new API token of a person, added when missing; without scopes it may do all that the person may."""
        self.add_user(user)
        body = {"note": "tests", **({"scopes": scopes} if scopes is not None else {})}
        return self.request("POST", f"/users/{user}/tokens", json=body).raise_for_status().json()["token"]

    def start_server(self, user: str, patience: float = 120) -> str:
        """Start a person's server and return its address, which ends with a slash."""
        self.add_user(user)
        response = self.request("POST", f"/users/{user}/server")
        if response.status_code != 400:  # it runs already
            response.raise_for_status()
        wait_for(lambda: self._server(user).get("ready"), patience, f"{user}'s server runs")
        return f"{self.url}/user/{user}/"

    def stop_server(self, user: str, patience: float = 60) -> None:
        """Stop a person's server and wait until it has ended."""

        def has_ended() -> bool:
            # Asked again and again: a hub that has just started looks at the server first, and may refuse meanwhile.
            self.request("DELETE", f"/users/{user}/server")
            return not self._server(user)

        wait_for(has_ended, patience, f"{user}'s server ended")

    def _server(self, user: str) -> dict[str, Any]:
        return self.request("GET", f"/users/{user}").json().get("servers", {}).get("", {})

    # Processes ----------------------------------------------------------------------------------------

    def pid(self, program: str) -> int:
        """Return the process id of one of the deployment's programs."""
        return int(Supervisor(self.settings).processes()[program]["pid"])

    def kill(self, program: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to a program and return the process id it had."""
        pid = self.pid(program)
        os.kill(pid, number)
        return pid

    def wait_back(self, program: str, old_pid: int, patience: float = 150) -> None:
        """Wait until a killed program runs again under another process id, and the deployment answers."""
        wait_for(lambda: self.pid(program) not in (0, old_pid), patience, f"{program} is back")
        self.wait_ready(patience)

    def wait_ready(self, patience: float = 150) -> None:
        """Wait until the hub answers through the proxy."""
        wait_for(lambda: httpx.get(f"{self.url}/hub/api/").status_code == 200, patience, "the hub answers")

    def armillary(
        self, *arguments: str, timeout: float = 120, home: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line as the deployment's account, with its home unless another is given."""
        command = [*_armillary(), *arguments, "--home", str(home or self.home)]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment,
            cwd=self.home.parent,
            check=False,
            **_as(self.account),
        )

    def up(self, patience: float = 240) -> None:
        """Start `armillary up` and wait until it says that it answers."""
        log = self.home.parent / "up.log"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                self.command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                cwd=self.home.parent,
                start_new_session=True,
                **_as(self.account),
            )

        def ready() -> bool:
            assert self.process.poll() is None, f"armillary up ended:\n{self.output}"
            return "Armillary answers" in self.output

        wait_for(ready, patience, "armillary up answers")
        self.settings = Settings.load(self.home)

    def down(self, patience: float = 120) -> None:
        """End `armillary up` as Ctrl-C does, and wait for it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(patience)


def _armillary() -> list[str]:
    return [str(Path(sys.prefix) / "bin" / "armillary")]


def _as(account: pwd.struct_passwd) -> dict[str, Any]:
    if account.pw_uid == os.geteuid():
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def ordinary_account() -> Iterator[pwd.struct_passwd]:
    """Return this account, or, as root, a freshly made one that is removed afterwards."""
    if os.geteuid() != 0:
        yield pwd.getpwuid(os.geteuid())
        return
    name = f"armtest{secrets.token_hex(3)}"
    subprocess.run(["useradd", "--no-create-home", "--home-dir", "/nonexistent", name], check=True)
    try:
        yield pwd.getpwnam(name)
    finally:
        _end_account(name)


def _end_account(name: str) -> None:
    from armillary_hub.accounts.unix_accounts import end_processes

    end_processes(pwd.getpwnam(name).pw_uid)
    subprocess.run(["userdel", name], check=True)


@contextlib.contextmanager
def deploy(
    mode: Literal["solo", "team"] = "solo",
    simulate_gpus: int = 0,
    account: pwd.struct_passwd | None = None,
    config: str = "",
) -> Iterator[Deployment]:
    """Run a deployment and remove every trace of it afterwards: processes, accounts and files.

    Parameters
    ----------
    mode
        ``"team"`` needs root.
    simulate_gpus
        Pretend GPUs.
    account
        Who runs a solo deployment; default: this account, or as root a freshly made one.
    config
        More lines for the hub's configuration.
    """
    with contextlib.ExitStack() as stack:
        if mode == "team":
            account = pwd.getpwuid(0)
        account = account or stack.enter_context(ordinary_account())
        base = Path(tempfile.mkdtemp(prefix="arm-", dir="/tmp"))
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        _remove_stale_accounts()
        deployment = _describe(base, mode, simulate_gpus, account, config)
        stack.callback(_remove_accounts, deployment)
        stack.callback(sweep, deployment.home)
        try:
            deployment.up()
            yield deployment
        except BaseException:
            _keep_logs(deployment)
            raise
        finally:
            deployment.down()


def _describe(base: Path, mode: str, simulate_gpus: int, account: pwd.struct_passwd, lines: str) -> Deployment:
    base.chmod(0o755)
    home, port, token = base / "h", free_port(), secrets.token_hex(32)
    home.mkdir()
    config = base / "jupyterhub_config.py"
    config.write_text(_CONFIG.format(token=token, lines=lines))
    config.chmod(0o600)
    for path in (base, home, config):
        os.chown(path, account.pw_uid, account.pw_gid)
    command = [*_armillary(), "up", "--home", str(home), "--port", str(port), "--config", str(config)]
    command += ["--simulate-gpus", str(simulate_gpus)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(base), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        if name in os.environ:
            environment[name] = os.environ[name]
    settings = Settings(home, port=port, mode=mode, simulate_gpus=simulate_gpus)  # type: ignore[arg-type]
    not_started: Any = None
    return Deployment(home, port, settings, not_started, command, environment, account, token)


def _keep_logs(deployment: Deployment) -> None:
    """Copy the logs of a failed test to where they outlive it."""
    kept = Path(os.environ.get("ARMILLARY_TEST_LOGS", "/tmp/armillary-test-logs")) / deployment.home.parent.name
    shutil.rmtree(kept, ignore_errors=True)
    with contextlib.suppress(OSError):
        shutil.copytree(deployment.settings.logs_dir, kept)
        shutil.copy(deployment.home.parent / "up.log", kept)
        for log in deployment.settings.run_dir.glob("*/server.log"):
            shutil.copy(log, kept / f"server-{log.parent.name}.log")
        print(f"Logs of the deployment: {kept}")


def _remove_accounts(deployment: Deployment) -> None:
    """Remove the Unix accounts and groups that a team deployment made."""
    if deployment.settings.mode != "team":
        return
    with _accounts_locked():
        for entry in pwd.getpwall():
            if Path(entry.pw_dir).parent == deployment.settings.users_dir:
                _end_account(entry.pw_name)
    for folder in deployment.settings.shared_dir.glob("arm-*"):
        subprocess.run(["groupdel", folder.name], check=True)


def _remove_stale_accounts() -> None:
    """Remove what a killed test run left behind, or the next one could not use the same names."""
    if not is_root():
        return
    with _accounts_locked():
        for entry in pwd.getpwall():
            home = Path(entry.pw_dir).parent.parent
            if re.fullmatch(r"/tmp/arm-\w+/h", str(home)) and not processes_of(home):
                _end_account(entry.pw_name)


@contextlib.contextmanager
def _accounts_locked() -> Iterator[None]:
    """Let one of the processes that run tests side by side remove accounts at a time."""
    with Path(tempfile.gettempdir(), "armillary-test-accounts.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def processes_left(deployment: Deployment) -> list[int]:
    """Return the process ids of everything of the deployment that still runs."""
    return [process.pid for process in processes_of(deployment.home)]


@functools.cache
def is_root() -> bool:
    """Return whether team mode can be tested."""
    return os.geteuid() == 0
