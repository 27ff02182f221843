"""A query sent to a database: its answer is streamed, nothing is committed, and no secret gets into an error.

Neither the server nor its driver holds all rows at once. What a database's address has of secrets (user, password,
options) stands in no manifest, and errors hide the values of parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armillary_kernels.texts import translator

from armillary.errors import DatasetError

if TYPE_CHECKING:
    from sqlalchemy import URL, CursorResult, Engine, Executable

_ = translator(__file__)

#: Rows that are fetched at a time.
BATCH = 5_000


@contextmanager
def answer(
    query: str | Executable, database: str | URL | Engine, parameters: Mapping[str, Any] | None
) -> Iterator[CursorResult[Any]]:
    """Give the rows that a database answers; the connection ends with the block, and nothing is committed.

    Raises
    ------
    DatasetError
        When the database cannot be reached, refuses the query, or answers no rows; also while rows are read.
    """
    library = _library()
    engine = _engine(library, database)
    try:
        with engine.connect() as connection:
            streaming = connection.execution_options(stream_results=True, max_row_buffer=BATCH, no_parameters=True)
            result = _sent(library, streaming, query, parameters)
            if not result.returns_rows:
                raise DatasetError(_("The query gives no rows."), _("Write a SELECT."))
            yield result
    except library.exc.SQLAlchemyError as error:
        # The error itself may hold the address with its password, and the values of the parameters.
        what = _("{database} refuses: {reason}.", database=shown(engine), reason=_reason(error, engine.url))
        raise DatasetError(what, _("Check the query, the address and your rights.")) from None
    finally:
        if engine is not database:
            engine.dispose()


def _sent(library: Any, connection: Any, query: Any, parameters: Mapping[str, Any] | None) -> CursorResult[Any]:
    if not isinstance(query, str):
        return connection.execute(query, parameters)
    if parameters is None:  # as it stands: colons and per cent signs mean nothing
        return connection.exec_driver_sql(query)
    return connection.execute(library.text(query), parameters)


def shown(database: str | URL | Engine) -> str:
    """Return the address of a database without what may be secret."""
    library = _library()
    url = library.make_url(getattr(database, "url", database))
    plain = library.URL.create(url.get_backend_name(), host=url.host, port=url.port, database=url.database)
    return plain.render_as_string()


def _engine(library: Any, database: str | URL | Engine) -> Engine:
    if isinstance(database, library.Engine):
        return database
    try:
        url = library.make_url(database)
    except library.exc.ArgumentError:
        what = _("The address of the database cannot be read.")
        raise DatasetError(what, _("Write it as {example}.", example="postgresql://user@host/name")) from None
    _refuse_missing_file(url)
    try:
        return library.create_engine(url, hide_parameters=True)
    except (ImportError, library.exc.SQLAlchemyError) as error:
        what = _("{database} cannot be reached: {reason}.", database=shown(url), reason=_reason(error, url))
        raise DatasetError(what, _("Install the driver of this kind of database.")) from None


def _refuse_missing_file(url: URL) -> None:
    """Refuse a file that is not there: SQLite would make an empty one."""
    file = url.database if url.get_backend_name() == "sqlite" else None
    if file and file != ":memory:" and not file.startswith("file:") and not Path(file).is_file():
        raise DatasetError(_("There is no file {path}.", path=file), _("Check the path."))


def _reason(error: Exception, url: URL) -> str:
    """Return what the database said, in one line, without the password."""
    said = " ".join(str(getattr(error, "orig", None) or error).split()).rstrip(".")
    return said.replace(str(url.password), "***") if url.password else said


def _library() -> Any:
    try:
        import sqlalchemy
    except ImportError as error:
        what = _("Databases cannot be read: {error}.", error=error)
        raise DatasetError(what, _("Install armillary[data].")) from error
    return sqlalchemy
