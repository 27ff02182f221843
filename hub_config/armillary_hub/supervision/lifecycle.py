"""A deployment from its start to its end: `run` is `armillary up`, `stop` is `armillary down`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import httpx
from armillary_kernels.errors import ArmillaryError

from armillary_hub.clusters.stop_all import stop_all
from armillary_hub.pool import device_groups
from armillary_hub.settings import Settings
from armillary_hub.supervision.environment import DEPLOYMENT, PROGRAM, minimal_environment
from armillary_hub.supervision.processes import end, environment_of, is_alive, programs_of, sweep
from armillary_hub.supervision.readiness import wait_until_ready
from armillary_hub.supervision.supervisord import Supervisor, configuration_file, write_configuration
from armillary_hub.supervision.traefik import write_static_configuration

#: Tells the person one line about what happens.
Report = Callable[[str], None]

#: Seconds for people's servers, and for supervisord's programs, to end in order.
SERVERS_PATIENCE, PROGRAMS_PATIENCE = 40.0, 45.0


class AlreadyRunning(ArmillaryError):  # noqa: N818 - a state of the deployment, not a fault of it
    """Another `armillary up` serves this home."""


def lock_file(settings: Settings) -> Path:
    """Return the file that `armillary up` keeps locked while it runs, with its process id in it."""
    return settings.run_dir / "up.lock"


@contextlib.contextmanager
def deployment_lock(settings: Settings) -> Iterator[None]:
    """Hold the deployment; the kernel lets go of it when this process dies, however it dies.

    Raises
    ------
    AlreadyRunning
        If another process holds it.
    """
    with lock_file(settings).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"The deployment in {settings.home} runs already (process {running_pid(settings)}).",
                f"It answers at {Settings.load(settings.home).public_url}. `armillary down` stops it.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def running_pid(settings: Settings) -> int | None:
    """Return the process id of the `armillary up` that serves this home, or None."""
    try:
        with lock_file(settings).open(encoding="utf-8") as file:
            pid = int(file.read() or 0)
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return pid
    except (FileNotFoundError, ValueError):
        return None
    return None


def prepare(settings: Settings) -> None:
    """Write everything that the programs read when they start."""
    settings.save()
    for name in ("jupyterhub_config.py", "dask_gateway_config.py"):
        if not (settings.config_dir / name).exists():
            shutil.copyfile(settings.share_dir / "config" / name, settings.config_dir / name)
    write_static_configuration(settings)
    write_configuration(settings)


def run(settings: Settings, report: Report, on_ready: Callable[[], None]) -> None:
    """Start the deployment, serve until SIGINT, SIGTERM or SIGHUP, then end every process of it.

    Parameters
    ----------
    settings
        The deployment, its folders made and its lock held.
    report
        Told what happens.
    on_ready
        Called once people can sign in.
    """
    stopping = threading.Event()
    with _signals(stopping):
        try:
            _serve(settings, report, on_ready, stopping)
        finally:
            report("Stopping people's servers, clusters and apps, then the deployment…")
            stop(settings, report)


@contextlib.contextmanager
def _signals(stopping: threading.Event) -> Iterator[None]:
    def note(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve(settings: Settings, report: Report, on_ready: Callable[[], None], stopping: threading.Event) -> None:
    """Keep supervisord alive until told to stop; one that is killed is replaced, people's servers untouched."""
    tell_ready = on_ready
    while not stopping.is_set():
        end_leftovers(settings, report)
        prepare(settings)
        supervisord = start_supervisord(settings)
        if wait_until_ready(settings, supervisord, report, stopping):
            tell_ready()
            tell_ready = lambda: report("Everything answers again.")  # noqa: E731 - said once the first time is over
        while supervisord.poll() is None and not stopping.wait(0.5):
            pass
        if not stopping.is_set():
            report(f"supervisord ended ({supervisord.returncode}); starting it again.")


def end_leftovers(settings: Settings, report: Report) -> None:
    """End programs that an earlier, killed `armillary up` left behind; people's servers stay."""
    left = programs_of(settings.home)
    if not left:
        return
    report(f"An earlier start was cut off: ending {len(left)} processes it left (people's servers stay).")
    # supervisord first, or it would start the others again.
    end(process for process in left if (environment_of(process.pid) or {}).get(PROGRAM) == "supervisord")
    end(programs_of(settings.home))


def start_supervisord(settings: Settings) -> subprocess.Popen[bytes]:
    """Start supervisord out of reach of the terminal's Ctrl-C, with a minimal environment."""
    environment = {
        **minimal_environment(settings.environment_dir),
        "HOME": str(settings.state_dir),
        "ARMILLARY_HOME": str(settings.home),
        DEPLOYMENT: str(settings.home),
        PROGRAM: "supervisord",
    }
    python = str(settings.environment_dir / "bin" / "python")
    return subprocess.Popen(
        [python, "-m", "supervisor.supervisord", "-c", str(configuration_file(settings))],
        env=environment,
        cwd=settings.state_dir,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        # supervisord has an option for it, which it heeds as a daemon only.
        umask=0o077,
    )


def stop(settings: Settings, report: Report) -> None:
    """End the deployment: people's servers in order, then the programs, then whatever is left."""
    stop_servers(settings, report)
    stop_programs(settings)
    # The gateway is gone by now: it would replace the workers that end.
    if clusters := stop_all(settings):
        report(f"Ended {clusters} Dask schedulers and workers.")
    if left := sweep(settings.home):
        report(f"Ended {left} more processes.")
    device_groups.remove(device_groups.name_of(settings.home))


def stop_servers(settings: Settings, report: Report) -> None:
    """Ask the hub to stop everybody's server; what it cannot stop is ended by `sweep`."""
    headers = {"Authorization": f"Bearer {settings.secret('operator')}"}
    with httpx.Client(base_url=settings.hub_api_url, headers=headers, timeout=SERVERS_PATIENCE, trust_env=False) as hub:
        try:
            names = [user["name"] for user in hub.get("/users", params={"state": "active"}).raise_for_status().json()]
            if names:
                report(f"Stopping {len(names)} servers.")
            with ThreadPoolExecutor(max_workers=16) as pool:
                list(pool.map(lambda name: hub.delete(f"/users/{name}/server"), names))
            _wait_for(lambda: not hub.get("/users", params={"state": "active"}).json(), SERVERS_PATIENCE)
        except (httpx.HTTPError, ValueError) as error:
            report(f"The hub does not answer ({type(error).__name__}); ending servers without it.")


def stop_programs(settings: Settings) -> None:
    """Shut supervisord down, which ends its programs."""
    supervisor = Supervisor(settings)
    if supervisor.pid is None:
        return
    with contextlib.suppress(OSError):
        supervisor.shutdown()
    _wait_for(lambda: not any(is_alive(program) for program in programs_of(settings.home)), PROGRAMS_PATIENCE)


def _wait_for(condition: Callable[[], bool], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False
