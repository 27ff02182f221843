"""How a kernel's process comes to be. Engines are added here: a fork of a preloaded parent, ``srun``, a pod."""

from __future__ import annotations

from abc import ABC, abstractmethod
from subprocess import Popen
from typing import Any

from jupyter_client.launcher import launch_kernel


class Launcher(ABC):
    """Starts kernel processes."""

    @abstractmethod
    async def launch(self, command: list[str], **options: Any) -> Popen[bytes]:
        """Start a kernel.

        Parameters
        ----------
        command
            Program and arguments.
        **options
            Those of `subprocess.Popen`: ``env`` and ``cwd`` above all.

        Returns
        -------
        subprocess.Popen
            The kernel, at the head of a process group of its own, which ends when this process does.
        """


class SpawnLauncher(Launcher):
    """A new process of this machine."""

    async def launch(self, command: list[str], **options: Any) -> Popen[bytes]:
        """Start a kernel; jupyter_client tells it its parent's pid, so that it ends with its server."""
        return launch_kernel(command, **options)
