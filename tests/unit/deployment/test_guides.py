"""The guides in a person's home."""

from __future__ import annotations

from pathlib import Path

import pytest
from armillary_hub.person.guides import refresh_guides


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """What the distribution brings."""
    folder = tmp_path / "source"
    (folder / "images").mkdir(parents=True)
    (folder / "start.ipynb").write_text("first")
    (folder / "images" / "one.png").write_bytes(b"png")
    return folder


def visible(folder: Path) -> dict[str, str]:
    return {
        path.name: path.read_text() for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    }


def test_guides_are_brought_up_to_date(tmp_path: Path, source: Path) -> None:
    home = tmp_path / "guides"
    refresh_guides(home, source)
    (source / "start.ipynb").write_text("second")
    (source / "more.ipynb").write_text("more")
    refresh_guides(home, source)
    assert visible(home) == {"start.ipynb": "second", "more.ipynb": "more", "one.png": "png"}


def test_a_changed_guide_is_never_overwritten(tmp_path: Path, source: Path) -> None:
    home = tmp_path / "guides"
    refresh_guides(home, source)
    (home / "start.ipynb").write_text("mine")
    (source / "start.ipynb").write_text("second")
    for _ in range(2):
        refresh_guides(home, source)
        assert visible(home) == {"start.ipynb": "mine", "start (new).ipynb": "second", "one.png": "png"}


def test_a_file_that_was_there_before_is_never_overwritten(tmp_path: Path, source: Path) -> None:
    home = tmp_path / "guides"
    home.mkdir()
    (home / "start.ipynb").write_text("mine")
    refresh_guides(home, source)
    assert visible(home)["start.ipynb"] == "mine"


def test_a_deleted_guide_comes_back_only_when_it_is_newer(tmp_path: Path, source: Path) -> None:
    home = tmp_path / "guides"
    refresh_guides(home, source)
    (home / "start.ipynb").unlink()
    refresh_guides(home, source)
    assert "start.ipynb" not in visible(home)
    (source / "start.ipynb").write_text("second")
    refresh_guides(home, source)
    assert visible(home)["start.ipynb"] == "second"


def test_a_home_that_cannot_be_written_does_not_keep_the_server_from_starting(tmp_path: Path, source: Path) -> None:
    (tmp_path / "guides").write_text("a file where the folder should be")
    refresh_guides(tmp_path / "guides", source)
