"""MLflow behind the hub's sign-in: each person's experiments, runs, artifacts and models are their own."""
