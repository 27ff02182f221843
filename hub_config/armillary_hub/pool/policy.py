"""What admins decide: quotas and reservations, kept in the pool's database."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Delete, delete, insert

from armillary_hub.pool import rows
from armillary_hub.pool.database import quotas, reservations
from armillary_hub.pool.opening import OpenDatabase
from armillary_hub.pool.quotas import QuotaRule, QuotaScope
from armillary_hub.pool.reservations import Reservation


class PolicyStore:
    """Quotas and reservations. Each method is one transaction."""

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    def quotas(self) -> list[QuotaRule]:
        """Return all quotas by scope and name."""
        with self._database.reading() as connection:
            return rows.read_quotas(connection)

    def set_quota(self, rule: QuotaRule) -> None:
        """Set the quota of a user, of each member of a group, or the default."""
        with self._database.transaction() as connection:
            connection.execute(_one_quota(rule.scope, rule.name))
            connection.execute(insert(quotas).values(scope=rule.scope, name=rule.name, **asdict(rule.quota)))

    def remove_quota(self, scope: QuotaScope, name: str) -> bool:
        """Remove a quota; False when there was none."""
        with self._database.transaction() as connection:
            return connection.execute(_one_quota(scope, name)).rowcount > 0

    def reservations(self) -> list[Reservation]:
        """Return all reservations, the earliest first."""
        with self._database.reading() as connection:
            return rows.read_reservations(connection)

    def reserve(self, reservation: Reservation) -> None:
        """Add a reservation."""
        with self._database.transaction() as connection:
            connection.execute(insert(reservations).values(reservation.plain()))

    def remove_reservation(self, reservation_id: str) -> bool:
        """Remove a reservation; False when there was none."""
        with self._database.transaction() as connection:
            return connection.execute(delete(reservations).where(reservations.c.id == reservation_id)).rowcount > 0


def _one_quota(scope: QuotaScope, name: str) -> Delete:
    return delete(quotas).where(quotas.c.scope == scope, quotas.c.name == name)
