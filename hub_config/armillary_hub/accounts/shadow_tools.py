"""The system's own programs for accounts and groups (useradd, usermod, groupadd and their like)."""

from __future__ import annotations

import subprocess
import time

from armillary_hub.accounts.errors import AccountError

#: Seconds that another program may hold the lock on /etc/passwd or /etc/group.
LOCK_PATIENCE = 20.0


def run_when_unlocked(command: list[str]) -> None:
    """Run one of the shadow tools; wait while another program holds the lock on /etc/passwd."""
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise AccountError(
                "The program '{program}' is not there.", "Install the package `passwd`.", program=command[0]
            ) from None
        if done.returncode == 0:
            return
        if "lock" not in done.stderr or time.monotonic() > deadline:
            said = done.stderr.strip() or f"exit status {done.returncode}"
            raise AccountError(
                "`{command}` failed: {said}.",
                "See to the cause, then try again.",
                command=" ".join(command),
                said=said,
            )
        time.sleep(0.2)
