"""What an admin configures about the pool, in ``jupyterhub_config.py``: ``c.GpuSharing.half_life = 48``."""

from __future__ import annotations

from armillary_kernels.errors import ArmillaryError
from traitlets import Float, TraitError, Unicode
from traitlets.config import Configurable
from traitlets.config.loader import ConfigFileNotFound, PyFileConfigLoader

from armillary_hub.pool.scheduling import Rules
from armillary_hub.settings import Settings

_HOUR, _MINUTE = 3600.0, 60.0


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
        help="Minutes of use that a minute in the queue makes up for. Larger: nearer to first come, first served.",
    )
    idle_after = Float(
        10.0,
        min=0,
        config=True,
        help="Minutes after which the GPUs of an idle kernel are taken, its state kept, when somebody waits for them.",
    )
    lead = Float(
        15.0, min=0, config=True, help="Minutes before its start that a reservation begins to keep what becomes free."
    )

    sample_interval = Float(
        5.0, min=1, config=True, help="Seconds between two looks at the memory and the utilisation of the GPUs."
    )

    def rules(self) -> Rules:
        """Return the scheduler's rules."""
        return Rules(
            half_life=self.half_life * _HOUR,
            charge=self.charge * _MINUTE,
            ageing=self.ageing,
            idle_after=self.idle_after * _MINUTE,
            lead=self.lead * _MINUTE,
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
            raise ArmillaryError(f"{file} cannot be used: {error}", "Mend it, then restart the GPU pool.") from error
