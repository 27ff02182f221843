"""``cluster()`` where there is no hub: a script, without any guard, on local processes."""

import os
import subprocess
import sys

import pytest
from armillary import cluster
from armillary.errors import ClusterError

SCRIPT = """
import multiprocessing, os
import armillary
from distributed import Client
with armillary.cluster(workers=2) as mine:
    client = mine.client()
    assert client.submit(sum, [1, 2, 3]).result() == 6
    assert mine.workers == 2
    assert armillary.cluster(workers=1) is mine
    # Ranks are processes of their own: a worker must be able to start them.
    assert not client.submit(lambda: multiprocessing.current_process().daemon).result()
    assert client.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
    assert not mine.is_shared()
    with Client(mine.name, set_as_default=False):
        assert mine.is_shared()
    mine.started_here = True
    pids = list(client.run(os.getpid).values())
assert not any(os.path.exists(f"/proc/{pid}") for pid in pids), pids
try:
    mine.client()
except armillary.errors.ClusterError as error:
    print(error)
"""


def test_a_plain_script(tmp_path):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("ARMILLARY", "JUPYTERHUB"))
    }
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "This Dask cluster is closed. Start another with `armillary.cluster()`."


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"workers": 0}, "workers is 0. Give a whole number of workers, 1 or more."),
        ({"threads": 1.5}, "threads is 1.5. Give a whole number of threads, 1 or more."),
        ({"memory": "much"}, "memory is 'much'. Give bytes or a text such as \"2 GiB\"."),
        ({"memory": -1}, 'memory is -1. Give bytes or a text such as "2 GiB".'),
    ],
)
def test_wrong_arguments_start_nothing(arguments, sentence):
    with pytest.raises(ClusterError) as refusal:
        cluster(**arguments)
    assert str(refusal.value) == sentence
