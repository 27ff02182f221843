"""Files that lie where another account writes: what is there instead of them is neither followed nor waited for."""

import os
from pathlib import Path

import pytest
from armillary_hub.log_files import last_lines
from armillary_kernels.plain_files import read_plain_file


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text("top secret")
    return path


def test_the_beginning_and_the_end(secret):
    assert read_plain_file(secret, 100, owner=os.geteuid()) == b"top secret"
    assert read_plain_file(secret, 3) == b"top"
    assert read_plain_file(secret, 3, from_end=True) == b"ret"


def link(place, secret):
    place.symlink_to(secret)


def pipe(place, secret):
    os.mkfifo(place)


def folder(place, secret):
    place.mkdir()


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("plant", [link, pipe, folder])
def test_anything_else_is_refused_at_once(plant, tmp_path, secret):
    before = descriptors()
    plant(tmp_path / "server.log", secret)
    with pytest.raises(OSError, match=r"server\.log"):
        read_plain_file(tmp_path / "server.log", 100)
    assert last_lines(tmp_path / "server.log", 5) == ""
    assert descriptors() == before


def test_a_hard_link_to_anothers_file_is_refused(tmp_path, secret):
    (tmp_path / "server.log").hardlink_to(secret)
    assert last_lines(tmp_path / "server.log", 5, owner=os.geteuid() + 1) == ""
    assert last_lines(tmp_path / "server.log", 5, owner=os.geteuid()) == "top secret"


def test_a_huge_log_costs_little(tmp_path):
    with (tmp_path / "server.log").open("wb") as log:
        log.truncate(1 << 40)
        log.seek(0, os.SEEK_END)
        log.write(b"\none\ntwo\n")
    assert last_lines(tmp_path / "server.log", 2) == "one\ntwo"
