"""What code a function of one's own comes to: its own and that of the modules beside it which it calls.

Of a function that a module has, cloudpickle takes along the name alone. But units that are finished are kept under a
name that all their bytes depend on, and a worker knows a module as it was when it first loaded it: who mends a helper
and prepares again must not get what the old one made.
"""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

_INSTALLED = tuple(Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
_OURS = frozenset({"armillary", "armillary_kernels", "armillary_hub"})


def code_hash(function: Callable[..., Any]) -> str:
    """Return the hash of the code that a function comes to now, as it is loaded.

    Modules that are installed count by their names: they change with the environment, not from call to call.
    """
    data = _packed_by_value(function, [function])
    if data is None:  # then the modules' text must do
        data = b"".join(Path(str(module.__file__)).read_bytes() for module in _own_modules([function]))
    return hashlib.sha256(data).hexdigest()


def packed(value: Any, functions: Sequence[Callable[..., Any]]) -> bytes:
    """Return what cloudpickle makes of a value that refers to functions of one's own: their code goes along."""
    data = _packed_by_value(value, functions)
    return cloudpickle.dumps(value) if data is None else data


def _packed_by_value(value: Any, functions: Sequence[Callable[..., Any]]) -> bytes | None:
    """Return a value with the code of functions; None where something in their modules cannot travel."""
    known = cloudpickle.list_registry_pickle_by_value()
    added = [module for module in _own_modules(functions) if module.__name__ not in known]
    for module in added:
        cloudpickle.register_pickle_by_value(module)
    try:
        data: bytes = cloudpickle.dumps(value)
    except Exception:  # what a module holds may refuse in any way
        return None
    finally:
        for module in added:
            cloudpickle.unregister_pickle_by_value(module)
    return data


def _own_modules(functions: Sequence[Any]) -> Iterator[ModuleType]:
    """Yield the modules that are a person's own, from those of functions on, by name."""
    inner = [getattr(function, "func", None) for function in functions]  # of functools.partial
    types = [type(function) for function in functions]
    names: list[Any] = [getattr(each, "__module__", None) for each in (*functions, *inner, *types)]
    found: dict[str, ModuleType] = {}
    while names:
        name = names.pop()
        module = sys.modules.get(name) if isinstance(name, str) and name not in found else None
        if module is None or not _is_own(module):
            continue
        found[name] = module
        names += map(_home_of, list(vars(module).values()))
    return (module for name, module in sorted(found.items()) if name != "__main__")


def _home_of(value: Any) -> Any:
    """Return the name of the module that a value comes from."""
    if isinstance(value, ModuleType):
        return value.__name__
    with suppress(Exception):  # what a person's module holds may answer in any way
        return getattr(value, "__module__", None)
    return None


def _is_own(module: ModuleType) -> bool:
    if module.__name__ == "__main__":
        return True  # cloudpickle takes its functions along by itself, but those may call modules
    file = getattr(module, "__file__", None)
    if file is None or module.__name__.partition(".")[0] in _OURS:
        return False
    return "site-packages" not in Path(file).parts and not any(Path(file).is_relative_to(path) for path in _INSTALLED)
