"""supervisord: its configuration, and the conversation with it over a Unix socket."""

from __future__ import annotations

import shlex
import xmlrpc.client
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from armillary_hub.settings import Settings, write_atomically
from armillary_hub.supervision.environment import DEPLOYMENT, PROGRAM
from armillary_hub.supervision.programs import Program, programs

_HEAD = """\
[unix_http_server]
file = {socket}
chmod = 0600

[supervisord]
nodaemon = true
silent = true
logfile = {logs}/supervisord.log
logfile_maxbytes = 10MB
logfile_backups = 3
pidfile = {run}/supervisord.pid
childlogdir = {logs}
{user}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""

# A program that dies at once is started again after 1, 2, 3… seconds; after an hour of that it is given up.
_PROGRAM = """
[program:{name}]
command = {command}
directory = {directory}
environment = {environment}
priority = {priority}
autorestart = true
startsecs = 2
startretries = 80
stopwaitsecs = 20
redirect_stderr = true
stdout_logfile = {logs}/{name}.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 3
"""


def configuration_file(settings: Settings) -> Path:
    """Return the path of supervisord's configuration, which holds tokens."""
    return settings.state_dir / "supervisord.conf"


def socket_file(settings: Settings) -> Path:
    """Return the path of supervisord's control socket."""
    return settings.run_dir / "supervisor.sock"


def write_configuration(settings: Settings) -> None:
    """Write supervisord's configuration for the programs of a deployment."""
    head = _HEAD.format(
        socket=socket_file(settings),
        logs=settings.logs_dir,
        run=settings.run_dir,
        user="user = root\n" if settings.mode == "team" else "",
    )
    sections = [_section(settings, program, rank) for rank, program in enumerate(programs(settings), start=1)]
    write_atomically(configuration_file(settings), head + "".join(sections))


def _section(settings: Settings, program: Program, rank: int) -> str:
    environment = {
        "ARMILLARY_HOME": str(settings.home),
        DEPLOYMENT: str(settings.home),
        PROGRAM: program.name,
        **program.environment,
    }
    return _PROGRAM.format(
        name=program.name,
        command=_escape(shlex.join(program.command)),
        directory=settings.state_dir,
        environment=_assignments(environment),
        priority=rank,
        logs=settings.logs_dir,
    )


def _assignments(environment: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in environment.items())


def _escape(text: str) -> str:
    """Supervisord expands ``%(name)s``."""
    return text.replace("%", "%%")


class Supervisor:
    """A running supervisord.

    Parameters
    ----------
    settings
        The deployment whose supervisord it is.
    """

    def __init__(self, settings: Settings) -> None:
        transport = SupervisorTransport(None, None, serverurl=f"unix://{socket_file(settings)}")
        # The host is never looked up: the transport talks to the socket.
        self._rpc: Any = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor

    @property
    def pid(self) -> int | None:
        """The process id of supervisord; None when nothing answers at the socket."""
        try:
            return int(self._rpc.getPID())
        except (OSError, xmlrpc.client.Error):
            return None

    def processes(self) -> dict[str, dict[str, Any]]:
        """Return supervisord's account of each program by name: ``statename``, ``pid``, ``start``, ``now``.

        Raises
        ------
        OSError
            If no supervisord answers.
        """
        return {info["name"]: info for info in self._rpc.getAllProcessInfo()}

    def restart(self, names: Iterable[str]) -> None:
        """Stop and start programs, the first named first."""
        for name in names:
            self._stop(name)
            self._rpc.startProcess(name, False)

    def _stop(self, name: str) -> None:
        try:
            self._rpc.stopProcess(name, True)
        except xmlrpc.client.Fault as fault:
            if "NOT_RUNNING" not in fault.faultString:
                raise

    def reload(self) -> None:
        """Read the configuration again: programs whose definition changed are replaced."""
        added, changed, removed = self._rpc.reloadConfig()[0]
        for group in (*removed, *changed):
            self._rpc.stopProcessGroup(group)
            self._rpc.removeProcessGroup(group)
        for group in (*added, *changed):
            self._rpc.addProcessGroup(group)

    def shutdown(self) -> None:
        """Begin to stop every program and then supervisord itself."""
        # All at once: by itself it ends one after the other.
        self._rpc.stopAllProcesses(False)
        self._rpc.shutdown()
