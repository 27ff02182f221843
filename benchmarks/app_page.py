"""Opening an app's page, cold : warm.

    python benchmarks/app_page.py [--rounds 5]

Warm is a visit that gets one of the kernels which have run the notebook beforehand; cold is one that has to start its
own. Both pages are real ones (standalone Voilà, the armillary template), without the hub's sign-in before them. Time
runs until the last byte of the page. Rounds alternate, and the medians are compared.
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

NOTEBOOK = Path(sys.prefix) / "share" / "armillary" / "notebooks" / "apps" / "image_classifier.ipynb"
PREFIX = "/user/app-digits/"
SERVER = """
import sys
from pathlib import Path
from armillary_hub.app_server.page import PageOnSocket, configuration
release, path, warm = sys.argv[1:]
page = PageOnSocket(config=configuration("/user/app-digits/", Path(release), Path(path), int(warm)))
page.initialize([])
page.start()
"""
FILLED = "Kernel pool of app.ipynb is filled"


class Page:
    """One running page."""

    def __init__(self, folder: Path, warm_kernels: int) -> None:
        self.socket, self.log = folder / f"s{warm_kernels}", folder / f"log{warm_kernels}"
        environment = {
            **os.environ,
            "ARMILLARY_RELEASE": str(folder / "release"),
            "ARMILLARY_ENDPOINT_SOCKET": str(folder / "endpoint"),
        }
        command = [sys.executable, "-c", SERVER, str(folder / "release"), str(self.socket), str(warm_kernels)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.client = httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), timeout=120)

    def open(self) -> float:
        """Open the page; return the seconds until its last byte."""
        start = time.perf_counter()
        answer = self.client.get(f"http://page{PREFIX}")
        if answer.status_code != 200 or "application/vnd.jupyter.widget-view+json" not in answer.text:
            raise SystemExit(f"The page is wrong: {answer.status_code}")
        return time.perf_counter() - start

    def filled(self) -> int:
        """Return how often the pool has become full."""
        return self.log.read_text().count(FILLED)

    def stop(self) -> None:
        """End it and its kernels."""
        self.client.close()
        self.process.terminate()
        self.process.wait(30)


def wait_until(condition) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + 180
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("The page did not start.")
        time.sleep(0.05)


def listens(page: Page) -> bool:
    """Return whether a page takes connections."""
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(str(page.socket))
        return True
    return False


@contextlib.contextmanager
def pages() -> Iterator[tuple[Page, Page]]:
    """Run a page without and one with warm kernels."""
    spec = {"kind": "image", "shape": [28, 28, 1], "dtype": "uint8", "scale": 1 / 255}
    about = {"name": "digits", "title": "Digits", "class_names": [str(i) for i in range(10)], "input": spec}
    with tempfile.TemporaryDirectory(dir="/tmp") as name, contextlib.ExitStack() as stack:
        release = Path(name) / "release"
        release.mkdir()
        (release / "release.json").write_text(json.dumps(about))
        (release / "app.ipynb").write_bytes(NOTEBOOK.read_bytes())
        both = []
        for warm_kernels in (0, 2):
            both.append(Page(Path(name), warm_kernels))
            stack.callback(both[-1].stop)
        for page in both:
            wait_until(lambda page=page: listens(page))
        wait_until(lambda: both[1].filled() == 1)
        yield both[0], both[1]


def main() -> None:
    """Run the rounds and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    cold_times, warm_times = [], []
    with pages() as (cold, warm):
        for page in (cold, warm):  # what is imported and compiled once is not counted
            page.open()
        for done in range(rounds):
            wait_until(lambda done=done: warm.filled() >= done + 2)
            cold_times.append(cold.open())
            warm_times.append(warm.open())
    cold_time, warm_time = statistics.median(cold_times), statistics.median(warm_times)
    print(f"cold {cold_time:.3f} s, warm {warm_time:.3f} s; cold : warm = {cold_time / warm_time:.0f} : 1")


if __name__ == "__main__":
    main()
