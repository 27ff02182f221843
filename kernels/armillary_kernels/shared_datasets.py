"""Where shared datasets lie: ``<shared>/<group>/<owner>/<name>/<version>``, which the hub and the notebooks agree on.

A group's folder is named as the Unix group that may enter it, and says in `NAME_FILE` which group of the hub that is.
"""

from __future__ import annotations

#: The folder of all groups, in the environment of people's servers.
VARIABLE = "ARMILLARY_SHARED_DATASETS"
NAME_FILE = ".group"
#: In each store, what savers are putting together.
STAGING = ".saving"
