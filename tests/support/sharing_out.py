"""How pytest-xdist shares the tests out among its processes."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

#: Names of Unix accounts are the machine's: whoever makes some does it one after the other.
_ACCOUNTS = re.compile(r"\b(team_deployment|usual_deployment|mark\.team|deploy\(\"team\")")

#: Whoever uses the deployment of the session does it in the process that has started it.
_DEPLOYMENT = re.compile(r"[(, ]deployment[,):]")

_ROOT = Path(__file__).parents[2]


class ByWhatTheyShare(LoadScopeScheduling):
    """Files stay whole; those that need the same deployment, or that make Unix accounts, stay together.

    Not by ``--dist loadgroup``: with pytest 9.2, pytest-xdist 3.8 cannot mark the items.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _scope(nodeid.partition("::")[0])


@functools.cache
def _scope(file: str) -> str:
    source = (_ROOT / file).read_text(encoding="utf-8")
    if _ACCOUNTS.search(source):
        return "accounts"
    return "deployment" if _DEPLOYMENT.search(source) else file
