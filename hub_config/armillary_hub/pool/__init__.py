"""The GPU pool: who may use which GPU, since when, and who is next."""
