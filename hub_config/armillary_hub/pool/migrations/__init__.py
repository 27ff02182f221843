"""How the pool's tables came to be, one revision a release that changed them (Alembic)."""
