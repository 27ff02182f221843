"""Files on their way from a browser to the kernel: they arrive in pieces and go on where they were cut."""
