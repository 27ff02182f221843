"""Which GPUs there are: asked of NVML again and again, and written into the books."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from armillary_hub.pool.device_books import DeviceBooks
from armillary_hub.pool.devices import Inventory, NvmlSilentError
from armillary_hub.pool.records import BookedDevice
from armillary_hub.pool.store import LeaseStore

_log = logging.getLogger(__name__)


class DeviceWatch:
    """The GPUs, as NVML and the books know them.

    Parameters
    ----------
    inventory
        Where they are learnt from.
    store
        The books.

    Attributes
    ----------
    driver
        The version of the NVIDIA driver; empty before it is known, and on pretend GPUs.
    """

    def __init__(self, inventory: Inventory, store: LeaseStore) -> None:
        self.driver = ""
        self._inventory = inventory
        self._books = DeviceBooks(store)
        self._minors: dict[str, int] = {}
        self._lock = threading.RLock()
        self._looked, self._has_seen = False, False

    @property
    def minors(self) -> Mapping[str, int]:
        """The minor number of each GPU's device file, by UUID, of those that NVML has ever told one of."""
        return self._minors

    def look(self) -> None:
        """Ask which GPUs there are, and write it down. Where NVML gives no answer, no GPU is given to anybody."""
        try:
            found = self._inventory.devices()
        except NvmlSilentError as error:
            changes = self._books.fail_all(str(error))
        else:
            changes = self._books.see(found, anew=not self._has_seen)
            self._has_seen = True
            self.driver = next((device.driver for device in found if device.driver), "")
            self._minors |= {device.uuid: device.minor for device in found if device.minor is not None}
        self._looked = True
        for change in changes:
            device = change.device
            _log.log(
                logging.INFO if device.state == "working" else logging.WARNING,
                "GPU %d (%s, %s) is %s. %s",
                *(device.index, device.uuid, device.name, device.state, device.trouble),
            )

    def look_first(self) -> None:
        """Look, if nobody has yet."""
        with self._lock:
            if not self._looked:
                self.look()

    def all(self) -> list[BookedDevice]:
        """Return the GPUs that the books know, those in trouble too."""
        self.look_first()
        return self._books.all()
