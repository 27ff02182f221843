"""The root of every error that Armillary raises on purpose.

The whole tree is drawn in `armillary.errors`; the root stands here because the hub, the kernels and the
extensions all raise it, and imports run towards this package.
"""


class ArmillaryError(Exception):
    """Something a person can understand and act on.

    Parameters
    ----------
    what
        What happened and where, in one sentence, with the names and numbers involved.
    remedy
        What to do about it, in one sentence. May be empty when ``what`` already says it.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what} {remedy}".strip())
        self.what = what
        self.remedy = remedy
