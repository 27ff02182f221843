"""Import of what a database answers: SQLite's and PostgreSQL's, understood as the same rows in a file are."""

import datetime
import io
import socket
import uuid
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
import sqlalchemy
from armillary import datasets
from armillary.datasets import ClassLabel, Image, Value
from armillary.datasets.importing import sql
from armillary.errors import DatasetError
from PIL import Image as Pictures
from support.postgresql import postgresql_server
from support.real_data import inside


@pytest.fixture(scope="module")
def postgresql():
    with postgresql_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """The URL of an empty database."""
    if request.param == "sqlite":
        path = tmp_path / "data.sqlite"
        path.touch()
        return f"sqlite:///{path}"
    server, name = request.getfixturevalue("postgresql"), f"data_{uuid.uuid4().hex}"
    write(server, f"CREATE DATABASE {name}", isolation_level="AUTOCOMMIT")
    return server.set(database=name).render_as_string(hide_password=False)


def write(url, *statements, rows=(), **options):
    engine = sqlalchemy.create_engine(url, **options)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sqlalchemy.text(statement), rows if ":" in statement else None)
    engine.dispose()


def test_penguins_of_a_database_are_those_of_a_file(store, database):
    path = inside("palmerpenguins", "data", "penguins.csv")
    engine = sqlalchemy.create_engine(database)
    pd.read_csv(path).to_sql("penguins", engine, index=False)
    query = "SELECT * FROM penguins"
    ours = datasets.import_sql(query, engine, "from-sql", target="species")
    engine.dispose()
    file = datasets.import_table(path, "from-file", "species")
    assert (ours.features.keys(), ours.class_names, ours.splits) == (
        file.features.keys(),
        file.class_names,
        file.splits,
    )
    assert (ours.input_spec.shape, ours.input_spec.columns) == (file.input_spec.shape, file.input_spec.columns)
    np.testing.assert_array_equal(ours.arrays(None)[0], file.arrays(None)[0])
    assert (ours.manifest.recipe[0]["step"], ours.manifest.recipe[0]["query"]) == ("import_sql", query)


def test_values_of_every_kind(store, database, monkeypatch):
    monkeypatch.setattr(sql, "BATCH", 7)
    when = datetime.datetime(2026, 5, 4, 3, 2, 1)  # noqa: DTZ001 (the column has no time zone)
    day = when.date()
    write(
        database,
        "CREATE TABLE t (whole INTEGER, price NUMERIC(8, 2), code TEXT, zip TEXT, day DATE, at TIMESTAMP)",
        "INSERT INTO t VALUES (:whole, :price, :code, :zip, :day, :at)",
        rows=[
            {
                "whole": row or None,
                "price": row / 4,
                "code": f"c{row}",
                "zip": f"0{row}",
                "day": when.date(),
                "at": when,
            }
            for row in range(20)
        ],
    )
    query = sqlalchemy.text("SELECT * FROM t ORDER BY price").columns(
        day=sqlalchemy.Date, at=sqlalchemy.DateTime, price=sqlalchemy.Numeric
    )
    dataset = datasets.import_sql(query, database, "values", split=None)
    frame = dataset.to_pandas()
    assert [dataset.features[name] for name in ("whole", "price", "code", "zip")] == [
        Value("int64"), Value("float64"), Value("string"), Value("string"),
    ]  # fmt: skip
    assert frame["whole"].isna().tolist() == [True, *[False] * 19]
    assert frame["price"].tolist() == [row / 4 for row in range(20)]
    assert frame["zip"].tolist() == [f"0{row}" for row in range(20)], "what the database calls text stays text"
    assert (frame["at"] == when).all()
    assert (frame["day"] == pd.Timestamp(day)).all()


def test_more_than_memory_with_features(store, database, monkeypatch):
    monkeypatch.setattr(sql, "BATCH", 7)

    def png(shade):
        buffer = io.BytesIO()
        Pictures.new("L", (4, 4), shade).save(buffer, "PNG")
        return buffer.getvalue()

    kind = "BYTEA" if database.startswith("postgresql") else "BLOB"
    rows = [{"photo": png(row) if row != 5 else b"no picture", "label": "ab"[row % 2]} for row in range(40)]
    write(database, f"CREATE TABLE t (photo {kind}, label TEXT)", "INSERT INTO t VALUES (:photo, :label)", rows=rows)
    features = {"photo": Image(), "label": ClassLabel(("a", "b"))}
    query = "SELECT photo, label FROM t"
    dataset = datasets.import_sql(query, database, "p", target="label", features=features, on_error="skip", split=None)
    assert [row["photo"].read() for row in dataset.iterate()] == [
        row["photo"] for row in rows if len(row["photo"]) > 20
    ]
    assert dataset.skipped[["place", "reason"]].values.tolist() == [
        ["row 6", "'photo': it is no picture in a known format"]
    ]
    with pytest.raises(DatasetError, match=r"Column 'photo' holds bytes.*features="):
        datasets.import_sql(query, database, "other", target="label")
    with pytest.raises(DatasetError, match=r"features and the columns of the query differ in 'label'"):
        datasets.import_sql(query, database, "other", features={"photo": Image()})


def test_colons_and_per_cent_signs_mean_nothing_without_parameters(store, database):
    write(database, "CREATE TABLE t (n INTEGER, s TEXT)")
    write(database, "INSERT INTO t VALUES (:n, :s)", rows=[{"n": n, "s": f"{n}% at 12:30"} for n in range(20)])
    found = datasets.import_sql("SELECT n, s, ' :x' AS colon FROM t WHERE s LIKE '1%'", database, "raw", split=None)
    assert sorted(found.to_pandas()["n"]) == [1, *range(10, 20)]
    query = "SELECT n, s FROM t WHERE n < :most"
    bound = datasets.import_sql(query, database, "bound", parameters={"most": 7}, split=None)
    assert len(bound) == 7
    assert "most': 7" not in (bound.folder / "manifest.json").read_text()


def test_nothing_that_a_query_changes_is_kept(store, database):
    write(database, "CREATE TABLE t (n INTEGER)", "INSERT INTO t SELECT 1 UNION SELECT 2 UNION SELECT 3")
    with suppress(DatasetError):  # PostgreSQL streams nothing but a SELECT
        datasets.import_sql("DELETE FROM t RETURNING n", database, "gone", split=None)
    assert len(datasets.import_sql("SELECT n FROM t", database, "still", split=None)) == 3


def test_a_text_among_numbers_is_a_row_that_cannot_be_used(store, tmp_path):
    """SQLite keeps anything in a column of numbers."""
    (tmp_path / "d.sqlite").touch()
    url = f"sqlite:///{tmp_path / 'd.sqlite'}"
    rows = [{"n": number if number != 33 else "many"} for number in range(60)]
    write(url, "CREATE TABLE t (n)", "INSERT INTO t VALUES (:n)", rows=rows)
    with pytest.raises(DatasetError, match=r"row 34: 'many' in column 'n', whose other values are numbers"):
        datasets.import_sql("SELECT n FROM t", url, "t")
    kept = datasets.import_sql("SELECT n FROM t", url, "t", on_error="skip", split=None)
    assert (len(kept), kept.features["n"]) == (59, Value("int64"))
    texts = datasets.import_sql("SELECT n AS nr FROM t", url, "texts", text="nr", split=None)
    assert texts.features["nr"] == Value("string")


@pytest.mark.parametrize(
    ("query", "options", "said"),
    [
        ("SELECT * FROM nosuch", {}, r"refuses: .*nosuch"),
        ("SELEKT 1", {}, r"refuses: .*(?i:syntax error)"),
        ("SELECT n FROM t WHERE n > 99", {}, r"The query gives no rows. Check its conditions"),
        ("CREATE TABLE other (n INTEGER)", {}, r"(The query gives no rows. Write a SELECT|refuses)"),
        ("SELECT n, n FROM t", {}, r"Two columns are called 'n'"),
        ("SELECT n FROM t", {"target": "kind"}, r"The query gives no column 'kind'; columns: 'n'"),
        ("SELECT n FROM t", {"split": {"training": 1}}, r"Unknown split 'training'"),
        ("SELECT :n", {"parameters": {}}, r"refuses: .*"),
    ],
)
def test_what_is_wrong_with_a_query_is_said(store, database, query, options, said):
    write(database, "CREATE TABLE t (n INTEGER)", "INSERT INTO t SELECT 1 UNION SELECT 2")
    with pytest.raises(DatasetError, match=said):
        datasets.import_sql(query, database, "bad", **options)
    assert datasets.list() == []


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://ada:hidden@127.0.0.1:{port}/d?options=hidden", r"postgresql://127.0.0.1:\d+/d refuses: "),
        ("nosuch://ada:hidden@host/d", r"nosuch://host/d cannot be reached"),
        ("ada:hidden@host", r"The address of the database cannot be read"),
        ("sqlite:////nowhere/hid.sqlite", r"There is no file /nowhere/hid.sqlite"),
    ],
)
def test_who_cannot_be_reached_is_named_without_its_password(store, url, said):
    with pytest.raises(DatasetError, match=said) as refused:
        datasets.import_sql("SELECT 1", url.format(port=closed_port()), "d")
    assert "hidden" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_credentials_are_in_no_manifest(store, postgresql):
    url = postgresql.set(username="pool", password="hidden").update_query_dict({"application_name": "hidden"})
    dataset = datasets.import_sql("SELECT 1 AS n UNION SELECT 2", url, "d", split=None)
    assert dataset.manifest.source == "postgresql:///postgres"
    assert "hidden" not in (dataset.folder / "manifest.json").read_text()
