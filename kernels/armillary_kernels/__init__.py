"""What a kernel is and how it gets its GPU."""
