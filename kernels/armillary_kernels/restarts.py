"""How a kernel can tell that the pool restarted it: by the reason for which its lease ended."""

#: What such a reason begins with.
RESTARTED = "restarted: "


def is_restart(reason: str) -> bool:
    """Return whether a lease ended because its idle kernel could not be suspended and others waited."""
    return reason.startswith(RESTARTED)
