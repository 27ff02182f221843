"""What a person has typed: a path, a URL, a database, or a name on the Hugging Face hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

from armillary.datasets.recognising.ways import Way

#: SQLAlchemy's names, and those of drivers that are often beside it.
_DATABASES = frozenset(
    {"sqlite", "postgresql", "postgres", "mysql", "mariadb", "oracle", "mssql"}
    | {"duckdb", "clickhouse", "snowflake", "redshift", "trino", "hive"}
)
_DATABASE = re.compile(r"([a-z]+)(\+[a-z0-9_]+)?://")
_HUB_ADDRESS = re.compile(r"(?:hf://datasets|https?://huggingface\.co/datasets)/([\w.-]+/[\w.-]+)(?:[/@?#].*)?")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w-]*")  # without an ending: with one it is a path
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SQLITE = b"SQLite format 3\0"


def understood(text: str) -> Way | str | Path:
    """Return what a text means: a way that needs no files, a URL, or a path.

    ``$NAME`` stands for a variable of the environment, so that no password needs to be typed.

    >>> understood("stanfordnlp/imdb").kind
    'huggingface'
    """
    text = os.path.expandvars(text.strip())
    scheme = _DATABASE.match(text)
    if scheme and scheme[1] in _DATABASES:
        return database(text.replace("postgres://", "postgresql://", 1))
    if hub := _HUB_ADDRESS.fullmatch(text):
        return _hub(hub[1])
    if text.startswith("file://") or not _URL.match(text):
        path = Path(text.removeprefix("file://")).expanduser()
        return _hub(text) if _HUB_NAME.fullmatch(text) and not path.exists() else path
    return text


def database(address: str) -> Way:
    """Return the way to a database."""
    return Way("sql", {"database": address, "query": "", "target": None})


def database_file(path: Path) -> Way | None:
    """Return the way to a file of SQLite's, None for another file."""
    try:
        with path.open("rb") as file:
            found = file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return None
    return database(f"sqlite:///{path.absolute()}") if found else None


def _hub(repository: str) -> Way:
    return Way("huggingface", {"repository": repository, "config": None, "parts": None, "target": None})
