"""What an admin configures about the pool, in ``jupyterhub_config.py``: ``c.GpuSharing.half_life = 48``."""

from __future__ import annotations

from typing import Any

from armillary_kernels.errors import ArmillaryError
from traitlets import Bool, Float, Int, TraitError, Unicode, validate
from traitlets.config import Configurable
from traitlets.config.loader import ConfigFileNotFound, PyFileConfigLoader

from armillary_hub.pool.situation import Rules
from armillary_hub.settings import Settings

_DAY, _HOUR, _MINUTE = 86400.0, 3600.0, 60.0


class GpuSharing(Configurable):
    """How the GPUs are shared. Quotas and reservations are set over the pool's REST API, and hold at once."""

    database_url = Unicode(
        config=True,
        help="SQLAlchemy's URL of the pool's database, such as postgresql+psycopg://pool@db/pool. "
        "Default: SQLite in the deployment's state folder.",
    )
    half_life = Float(
        24.0, min=0.01, config=True, help="Hours after which use counts half when it is decided who is next."
    )
    charge = Float(10.0, min=0, config=True, help="Minutes of use that a GPU held now counts for in advance.")
    ageing = Float(
        10.0,
        min=0.01,
        config=True,
        help="Minutes of use that a minute in the queue makes up for; it counts anew when the person gets a GPU, and "
        "not while the person's own quota has no room. Larger: nearer to taking turns whatever was used.",
    )
    most_waiting = Int(
        100, min=1, config=True, help="How many asks of one person, workers of a cluster too, may wait in the queue."
    )
    idle_after = Float(
        10.0,
        min=0,
        config=True,
        help="Minutes after which the GPUs of an idle kernel are taken, its state kept, when somebody waits for them.",
    )
    app_idle_after = Float(
        15.0,
        min=0,
        config=True,
        help="Minutes without a visitor or a call after which an app with a GPU is put to sleep, which gives the GPU "
        "back; the next visit wakes it. 0 for never.",
    )
    lead = Float(
        15.0, min=0, config=True, help="Minutes before its start that a reservation begins to keep what becomes free."
    )

    suspend = Bool(
        True,
        config=True,
        help="Whether idle kernels are suspended for those who wait, where the NVIDIA driver can (570 or newer).",
    )
    host_memory_margin = Float(
        2.0, min=0, config=True, help="GiB of host memory that suspending a kernel must leave to everybody else."
    )
    restart_idle = Bool(
        False,
        config=True,
        help="Whether an idle kernel that cannot be suspended is restarted, which loses what it has in memory, when "
        "somebody waits for its GPU. Its notebook shows a warning before.",
    )
    restart_warning = Float(
        10.0, min=0, config=True, help="Minutes between that warning and the restart; running a cell calls it off."
    )
    stop_unleased = Bool(
        False,
        config=True,
        help="Whether a person's process that uses a GPU without a lease is ended. It is shown and logged in any case.",
    )
    device_groups = Bool(
        True,
        config=True,
        help="Whether a person's process can open the GPUs of its lease only, where Linux's control groups (version 2) "
        "are there and the pool runs as root.",
    )
    sample_interval = Float(
        5.0, min=1, config=True, help="Seconds between two looks at the memory and the utilisation of the GPUs."
    )
    keep_days = Float(
        365.0,
        min=0,
        config=True,
        help="Days for which a lease that has ended is kept, with the audit of it and its use; at least 2, for quotas "
        "count the last 24 hours. 0 keeps everything. Sums, such as GPU-seconds, stay in any case.",
    )

    @validate("keep_days")
    def _keeps_what_quotas_count(self, proposal: dict[str, Any]) -> float:
        days = float(proposal["value"])
        return days if days == 0 else max(2.0, days)

    def rules(self) -> Rules:
        """Return the scheduler's rules."""
        return Rules(
            half_life=self.half_life * _HOUR,
            charge=self.charge * _MINUTE,
            ageing=self.ageing,
            most_waiting=self.most_waiting,
            idle_after=self.idle_after * _MINUTE,
            lead=self.lead * _MINUTE,
            restart_warning=self.restart_warning * _MINUTE if self.restart_idle else None,
            keep=self.keep_days * _DAY or None,
        )

    @classmethod
    def load(cls, settings: Settings) -> GpuSharing:
        """Read a deployment's configuration.

        Raises
        ------
        ArmillaryError
            If it cannot be read, or a value is not possible.
        """
        file = settings.config_file
        try:
            return cls(config=PyFileConfigLoader(file.name, str(file.parent)).load_config())
        except (ConfigFileNotFound, SyntaxError, TraitError) as error:
            raise ArmillaryError(f"{file} cannot be used: {error}", "Mend it, then run `armillary restart`.") from error
