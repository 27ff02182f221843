"""HTTP calls that wait for an answer as long as a busy machine may need, where httpx gives up after five seconds."""

from __future__ import annotations

from functools import partial

import httpx

#: Seconds.
PATIENCE = 60.0

get = partial(httpx.get, timeout=PATIENCE)
post = partial(httpx.post, timeout=PATIENCE)
put = partial(httpx.put, timeout=PATIENCE)
patch = partial(httpx.patch, timeout=PATIENCE)
delete = partial(httpx.delete, timeout=PATIENCE)
