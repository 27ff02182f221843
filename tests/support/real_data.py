"""Real data that installable packages ship: where they lie."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

STAMPS = Path("/usr/share/tuxpaint/stamps")
SONIC_PI = Path("/usr/share/sonic-pi/samples")
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def inside(package: str, *parts: str) -> Path:
    """Return a path inside an installed Python package, which is not imported."""
    spec = find_spec(package)
    assert spec is not None, f"the tests need the package {package}"
    assert spec.submodule_search_locations, package
    return Path(spec.submodule_search_locations[0], *parts)
