"""What Alembic runs: the revisions, in the transaction of whoever opens the database."""

from alembic import context

# SQLite can roll back changes of tables; Alembic does not count on it unless told.
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
