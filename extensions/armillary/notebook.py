"""Where code of a person's runs: in a notebook's kernel, or in a plain process."""

from __future__ import annotations

import sys


def in_notebook() -> bool:
    """Tell whether this process is a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None
