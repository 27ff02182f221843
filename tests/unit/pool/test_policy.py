"""Whose quota counts, when a reservation is in force, how use fades, and what an admin configures: pure functions."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from armillary_hub.pool.configuration import GpuSharing
from armillary_hub.pool.quotas import Quota, QuotaRule, quota_of
from armillary_hub.pool.reservations import Reservation, in_force
from armillary_hub.pool.usage import Use, faded, recent_seconds
from armillary_hub.settings import Settings
from armillary_kernels.errors import ArmillaryError
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

RULES = [
    QuotaRule("default", "", Quota(1, 10, 1)),
    QuotaRule("group", "class", Quota(gpus=2)),
    QuotaRule("group", "staff", Quota(gpus=4, weight=3)),
    QuotaRule("user", "alice", Quota(gpus=0.5)),
]


@pytest.mark.parametrize(
    ("user", "groups", "counts"),
    [
        ("bob", (), Quota(1, 10, 1)),
        ("bob", ("class",), Quota(2, 10, 1)),
        ("bob", ("class", "staff"), Quota(4, 10, 3)),
        ("alice", ("class", "staff"), Quota(0.5, 10, 3)),
    ],
)
def test_ones_own_quota_counts_before_the_groups_and_theirs_before_the_default(user, groups, counts):
    assert quota_of(user, groups, RULES) == counts


def test_what_nobody_set_is_not_bounded():
    assert quota_of("bob", ("class",), []) == Quota(None, None, None)


def course(weekly=True, timezone="Europe/Berlin", starts=datetime(2026, 10, 20, 9), hours=2):  # noqa: DTZ001 - local
    ends = starts + timedelta(hours=hours)
    return Reservation("r", "group", "class", 2, starts, ends, timezone, weekly, "", "root")


@pytest.mark.parametrize(
    ("local", "kept"),
    [
        ((2026, 10, 20, 8, 44), False),
        ((2026, 10, 20, 8, 45), True),
        ((2026, 10, 20, 10, 59), True),
        ((2026, 10, 20, 11, 0), False),
        ((2026, 10, 27, 9, 0), True),  # the clocks were set back in between
        ((2026, 10, 27, 8, 30), False),
        ((2027, 10, 19, 10, 0), True),
        ((2026, 10, 13, 10, 0), False),
    ],
)
def test_a_weekly_reservation_is_at_the_same_local_time_every_week(local, kept):
    now = datetime(*local, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
    assert bool(in_force([course()], now, timedelta(minutes=15))) == kept


def test_a_reservation_that_is_over_is_none():
    assert course(weekly=False).span(NOON) is None
    assert course(weekly=True).span(NOON)[0] == datetime(2026, 12, 1, 8, tzinfo=UTC)


def test_a_reservation_of_a_whole_week_never_ends():
    whole = course(hours=7 * 24)
    assert all(in_force([whole], NOON + day * timedelta(days=1), timedelta(0)) for day in range(15))


def test_use_counts_half_after_a_half_life():
    use = Use("alice", 2.0, NOON - HOUR, NOON)
    assert recent_seconds(use, NOON + timedelta(days=1), 86400) == pytest.approx(
        faded(recent_seconds(use, NOON, 86400), timedelta(days=1), 86400)
    )
    assert 0.98 * use.seconds < recent_seconds(use, NOON, 86400) < use.seconds == 7200


@given(cut=st.floats(0, 1), half_life=st.floats(60, 1e6), age=st.floats(0, 1e6))
def test_use_in_two_parts_counts_as_much_as_in_one(cut, half_life, age):
    between, now = NOON + cut * HOUR, NOON + HOUR + timedelta(seconds=age)
    whole = recent_seconds(Use("alice", 1, NOON, NOON + HOUR), now, half_life)
    parts = [Use("alice", 1, NOON, between), Use("alice", 1, between, NOON + HOUR)]
    assert sum(recent_seconds(part, now, half_life) for part in parts) == pytest.approx(whole, rel=1e-6, abs=1e-9)


def test_use_after_a_moment_is_the_part_after_it():
    use = Use("alice", 2.0, NOON, NOON + HOUR)
    assert [use.after(NOON + part * HOUR).seconds for part in (-1, 0.75, 2)] == [7200, 1800, 0]


def configured(tmp_path, text):
    file = tmp_path / "jupyterhub_config.py"
    file.write_text(text)
    return GpuSharing.load(Settings(home=tmp_path, config=str(file)))


def test_an_admin_configures_the_rules_beside_the_hub(tmp_path):
    sharing = configured(tmp_path, "c = get_config()\nc.GpuSharing.half_life = 2\nc.GpuSharing.idle_after = 5\n")
    assert (sharing.rules().half_life, sharing.rules().idle_after) == (7200, 300)
    assert sharing.database_url == ""
    assert GpuSharing().rules() == configured(tmp_path, "").rules()


@pytest.mark.parametrize(("days", "seconds"), [(0, None), (0.5, 2 * 86400), (90, 90 * 86400)])
def test_what_quotas_count_is_kept_in_any_case(tmp_path, days, seconds):
    assert configured(tmp_path, f"c = get_config()\nc.GpuSharing.keep_days = {days}\n").rules().keep == seconds


@pytest.mark.parametrize("text", ["c = get_config()\nc.GpuSharing.half_life = -1\n", "c = ("])
def test_a_configuration_that_cannot_be_is_refused(tmp_path, text):
    with pytest.raises(ArmillaryError, match=r"jupyterhub_config\.py cannot be used"):
        configured(tmp_path, text)
