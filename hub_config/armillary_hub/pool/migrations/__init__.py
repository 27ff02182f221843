"""How the pool's tables came to be, one revision a release that changed them (Alembic)."""

#: The newest revision, with which a database needs no more.
HEAD = "0007"
