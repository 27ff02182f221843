"""The triggers that count on each device what the holdings say, and refuse what cannot be.

The counts are bounded by CHECKs on the table ``devices``, so that a device is never given away twice.
"""

from __future__ import annotations

_NOT_WORKING = "a device that does not work is not given to anybody"
_NOT_GRANTED = "only a granted lease holds devices"
_UNCHANGED = "a holding is made and removed, never changed"

_SQLITE = f"""
CREATE TRIGGER holdings_made AFTER INSERT ON holdings BEGIN
  SELECT RAISE(ABORT, '{_NOT_WORKING}') WHERE (SELECT state FROM devices WHERE uuid = NEW.device) <> 'working';
  SELECT RAISE(ABORT, '{_NOT_GRANTED}') WHERE (SELECT state FROM leases WHERE id = NEW.lease_id) <> 'granted';
  UPDATE devices SET exclusives = exclusives + (NEW.memory IS NULL), shared = shared + COALESCE(NEW.memory, 0)
    WHERE uuid = NEW.device;
END;;
CREATE TRIGGER holdings_removed AFTER DELETE ON holdings BEGIN
  UPDATE devices SET exclusives = exclusives - (OLD.memory IS NULL), shared = shared - COALESCE(OLD.memory, 0)
    WHERE uuid = OLD.device;
END;;
CREATE TRIGGER holdings_unchanged BEFORE UPDATE ON holdings BEGIN SELECT RAISE(ABORT, '{_UNCHANGED}'); END;;
CREATE TRIGGER leases_hold_nothing BEFORE UPDATE OF state ON leases WHEN NEW.state <> 'granted' BEGIN
  SELECT RAISE(ABORT, '{_NOT_GRANTED}') WHERE EXISTS (SELECT 1 FROM holdings WHERE lease_id = NEW.id);
END
"""  # noqa: S608 - the texts above, no input

_RAISE = "RAISE EXCEPTION '{}' USING ERRCODE = 'integrity_constraint_violation'"

_POSTGRESQL = f"""
CREATE FUNCTION holdings_made() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF (SELECT state FROM devices WHERE uuid = NEW.device) <> 'working' THEN {_RAISE.format(_NOT_WORKING)}; END IF;
  IF (SELECT state FROM leases WHERE id = NEW.lease_id) <> 'granted' THEN {_RAISE.format(_NOT_GRANTED)}; END IF;
  UPDATE devices SET exclusives = exclusives + (NEW.memory IS NULL)::int, shared = shared + COALESCE(NEW.memory, 0)
    WHERE uuid = NEW.device;
  RETURN NULL;
END $$;;
CREATE FUNCTION holdings_removed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  UPDATE devices SET exclusives = exclusives - (OLD.memory IS NULL)::int, shared = shared - COALESCE(OLD.memory, 0)
    WHERE uuid = OLD.device;
  RETURN NULL;
END $$;;
CREATE FUNCTION holdings_unchanged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  {_RAISE.format(_UNCHANGED)};
END $$;;
CREATE FUNCTION leases_hold_nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF EXISTS (SELECT 1 FROM holdings WHERE lease_id = NEW.id) THEN {_RAISE.format(_NOT_GRANTED)}; END IF;
  RETURN NEW;
END $$;;
CREATE TRIGGER holdings_made AFTER INSERT ON holdings FOR EACH ROW EXECUTE FUNCTION holdings_made();;
CREATE TRIGGER holdings_removed AFTER DELETE ON holdings FOR EACH ROW EXECUTE FUNCTION holdings_removed();;
CREATE TRIGGER holdings_unchanged BEFORE UPDATE ON holdings FOR EACH ROW EXECUTE FUNCTION holdings_unchanged();;
CREATE TRIGGER leases_hold_nothing BEFORE UPDATE OF state ON leases FOR EACH ROW
  WHEN (NEW.state <> 'granted') EXECUTE FUNCTION leases_hold_nothing()
"""  # noqa: S608 - the texts above, no input

_STATEMENTS = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}


def statements(dialect: str) -> list[str]:
    """Return the statements that make the triggers in one of the two databases."""
    return [statement.strip() for statement in _STATEMENTS[dialect].split(";;")]
