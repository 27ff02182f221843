"""What a deployment needs of its machine: the checks of `armillary doctor`, some of which `armillary up` insists on."""

from __future__ import annotations

import importlib.metadata
import os
import pwd
import re
import shutil
import socket
import stat
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
from armillary_kernels.errors import ArmillaryError

from armillary_hub.pool.tracing import obstacle
from armillary_hub.settings import LONGEST_HOME, PORT_OFFSETS, Settings
from armillary_hub.supervision.environment import DEPLOYMENT, PROGRAM
from armillary_hub.supervision.processes import environment_of, listener_of

#: Below the first the deployment does not start, below the second `armillary doctor` warns; in bytes.
LEAST_DISK, GOOD_DISK = 1 << 30, 10 << 30


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    subject
        What was looked at.
    level
        ``"good"``; ``"warning"``: it runs, but not as it should; ``"problem"``: it does not run.
    what
        What was found, in one sentence.
    remedy
        What to do about it; empty for good ones.
    """

    subject: str
    level: Literal["good", "warning", "problem"]
    what: str
    remedy: str = ""


def diagnose(settings: Settings) -> list[Finding]:
    """Return the findings of every check."""
    checks: list[Callable[[Settings], Iterable[Finding]]] = [
        check_account,
        check_home,
        check_disk,
        check_ports,
        check_folders,
        check_programs,
        check_versions,
        check_gpus,
    ]
    return [finding for check in checks for finding in check(settings)]


def require_startable(settings: Settings) -> None:
    """Refuse a start that cannot succeed.

    Raises
    ------
    ArmillaryError
        With every problem, so that all of them can be mended at once.
    """
    checks = (check_account, check_home, check_disk, check_ports, check_folders, check_programs)
    problems = [finding for check in checks for finding in check(settings) if finding.level == "problem"]
    if problems:
        what = "\n".join(finding.what for finding in problems)
        raise ArmillaryError(what, "\n".join(dict.fromkeys(finding.remedy for finding in problems)))


def check_account(settings: Settings) -> Iterable[Finding]:
    """Look at the account: root for team mode, anyone else for solo."""
    name = pwd.getpwuid(os.geteuid()).pw_name
    if settings.mode == "team":
        tools = ("useradd", "userdel", "usermod", "groupadd", "gpasswd")
        missing = [tool for tool in tools if shutil.which(tool) is None]
        if os.geteuid() != 0:
            yield Finding(
                "account", "problem", f"{name!r} may not make accounts for people.", "Use sudo, or solo mode."
            )
        elif missing:
            yield Finding("account", "problem", f"No program {', '.join(missing)}.", "Run `apt-get install passwd`.")
        else:
            yield Finding("account", "good", "root: each person gets an account of their own.")
    elif os.geteuid() == 0:
        yield Finding("account", "problem", "Solo mode does not run as root.", "Use an ordinary account, or team mode.")
    else:
        yield Finding("account", "good", f"Everything runs as {name!r}.")


def check_home(settings: Settings) -> Iterable[Finding]:
    """Look at the path of the home: sockets below it must fit."""
    length = len(os.fsencode(settings.home))
    if length > LONGEST_HOME:
        yield Finding(
            "home",
            "problem",
            f"The path {settings.home} is {length} bytes long; kernels' sockets below it allow {LONGEST_HOME}.",
            "Choose a shorter --home.",
        )
    elif not re.fullmatch(r"[\w/.@+ -]+", str(settings.home)):
        yield Finding(
            "home",
            "problem",
            f"The path {settings.home} has characters that supervisord cannot take.",
            "Choose a --home of letters, digits, spaces and / . _ @ + -.",
        )
    else:
        yield Finding("home", "good", f"{settings.home}")


def check_disk(settings: Settings) -> Iterable[Finding]:
    """Look at the free space where the home is."""
    free = shutil.disk_usage(_existing(settings.home)).free
    text = f"{free / (1 << 30):.1f} GiB are free at {settings.home}."
    if free < LEAST_DISK:
        yield Finding("disk", "problem", text, "Free some space, or choose another --home.")
    elif free < GOOD_DISK:
        yield Finding(
            "disk", "warning", text, "Data sets, checkpoints and releases will soon fill it: free some space."
        )
    else:
        yield Finding("disk", "good", text)


def check_ports(settings: Settings) -> Iterable[Finding]:
    """Look for others on the deployment's ten ports; its own programs are welcome there, people's processes are not."""
    taken = False
    for name in PORT_OFFSETS:
        port = settings.port_of(name)
        if is_free(port, settings.host if name == "public" else "127.0.0.1"):
            continue
        holder = listener_of(port)
        environment = (environment_of(holder.pid) or {}) if holder else {}
        if environment.get(DEPLOYMENT) == str(settings.home) and PROGRAM in environment:
            continue
        taken = True
        yield Finding(
            "ports",
            "problem",
            f"Port {port} ({name}) is in use by {_described(holder)}.",
            "End that process, or choose another --port (it and the nine after it must be free).",
        )
    if not taken:
        yield Finding("ports", "good", f"{settings.port} to {settings.port + 9}: free, or this deployment's own.")


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether a server could listen on a TCP port now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        # As servers do: a port that only waits out closed connections is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _described(process: psutil.Process | None) -> str:
    if process is None:
        return "a process of another account"
    with suppress(psutil.Error):
        return f"process {process.pid} ({process.name()}, account {process.username()})"
    return f"process {process.pid}"


def check_folders(settings: Settings) -> Iterable[Finding]:
    """Look at who owns the home, who may enter the state, and whether accounts can reach the environment."""
    findings = [*_home_folders(settings), *(_way_to_environment(settings) if settings.mode == "team" else ())]
    yield from findings or [Finding("folders", "good", "Owners and permissions are as they should be.")]


def _home_folders(settings: Settings) -> Iterable[Finding]:
    home = settings.home
    if not home.exists():
        return
    owner = home.stat().st_uid
    if owner != os.geteuid():
        yield Finding(
            "folders", "problem", f"{home} belongs to uid {owner}.", "Run as that account, or choose another --home."
        )
        return
    for folder in (settings.config_dir, settings.state_dir, settings.secrets_dir, settings.logs_dir):
        if not folder.exists():
            continue
        state = folder.stat()
        if state.st_uid != os.geteuid():
            yield Finding(
                "folders",
                "problem",
                f"{folder} belongs to uid {state.st_uid}.",
                f"Run `chown -R {os.geteuid()} {folder}`.",
            )
        elif state.st_mode & 0o077:
            yield Finding("folders", "warning", f"Other accounts may enter {folder}.", f"Run `chmod 700 {folder}`.")


def _way_to_environment(settings: Settings) -> Iterable[Finding]:
    """In team mode every account must be able to run the environment, and the interpreter it is made of."""
    targets = {settings.environment_dir, (settings.environment_dir / "bin" / "python").resolve(), settings.home}
    closed = {folder for target in targets for folder in closed_folders(target)}
    for folder in sorted(closed):
        yield Finding(
            "folders",
            "problem",
            f"People's accounts cannot enter {folder}, which is on the way to what they run.",
            f"Run `chmod o+x {folder}`, or install again as root (`make up`), which chooses a place they can reach.",
        )


def closed_folders(target: Path) -> list[Path]:
    """Return the folders on the way to ``target`` that not every account may enter, the outermost first."""
    parents = [*reversed(target.parents), target]
    return [folder for folder in parents if folder.is_dir() and not folder.stat().st_mode & stat.S_IXOTH]


def check_programs(settings: Settings) -> Iterable[Finding]:
    """Look for the programs that the environment must bring."""
    bin_dir = settings.environment_dir / "bin"
    missing = [name for name in ("traefik", "supervisord", "jupyterhub") if not os.access(bin_dir / name, os.X_OK)]
    if missing:
        yield Finding("programs", "problem", f"{bin_dir} lacks {', '.join(missing)}.", "Install again with `make up`.")
    else:
        yield Finding("programs", "good", f"The environment {settings.environment_dir} is complete.")


def check_versions(settings: Settings) -> Iterable[Finding]:
    """Compare what is installed with the versions that were tested together (``constraints.txt``)."""
    constraints = settings.share_dir / "constraints.txt"
    if not constraints.exists():
        yield Finding("versions", "warning", f"There is no {constraints}.", "Install again with `make up`.")
        return
    other = list(_other_versions(constraints))
    if other:
        yield Finding(
            "versions", "warning", f"Other versions than tested: {', '.join(other)}.", "Install again with `make up`."
        )
    else:
        yield Finding("versions", "good", "All packages are the tested versions.")


def _other_versions(constraints: Path) -> Iterable[str]:
    for name, wanted in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", constraints.read_text(encoding="utf-8"), re.M):
        with suppress(importlib.metadata.PackageNotFoundError):
            found = importlib.metadata.version(name)
            if found.split("+")[0] != wanted:
                yield f"{name} {found} (tested: {wanted})"


def check_gpus(settings: Settings) -> Iterable[Finding]:
    """Ask the NVIDIA driver for its GPUs."""
    import pynvml

    try:
        pynvml.nvmlInit()
        count, driver = pynvml.nvmlDeviceGetCount(), pynvml.nvmlSystemGetDriverVersion()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        yield _no_driver(settings, error)
        return
    yield Finding("GPUs", "good", f"{count} GPUs, NVIDIA driver {driver}.")
    if count and (remedy := obstacle()):
        yield Finding(
            "GPUs", "warning", "Idle kernels may keep their GPUs: the driver may not save their state.", remedy
        )


def _no_driver(settings: Settings, error: Exception) -> Finding:
    if settings.simulate_gpus:
        return Finding("GPUs", "good", f"{settings.simulate_gpus} pretend GPUs.")
    if Path("/proc/driver/nvidia").exists() or list(Path("/dev").glob("nvidia[0-9]*")):
        return Finding(
            "GPUs",
            "warning",
            f"The NVIDIA driver does not answer: {error}.",
            "Run `nvidia-smi`; reinstall or reload the driver.",
        )
    return Finding("GPUs", "good", "No NVIDIA GPU: kernels run on the CPU.")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
