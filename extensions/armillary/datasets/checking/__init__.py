"""Checking datasets: one report of what is missing, broken, copied, odd, likely mislabelled, or too telling."""
