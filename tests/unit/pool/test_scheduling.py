"""The scheduler's rules, each by itself; whether they hold together the property test tries."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from armillary_hub.pool.estimate import FEWEST, estimate
from armillary_hub.pool.quotas import Quota, QuotaRule
from armillary_hub.pool.records import BookedDevice, Lease
from armillary_hub.pool.reservations import Reservation
from armillary_hub.pool.scheduling import decide, order, waits_for
from armillary_hub.pool.situation import Rules, Situation
from armillary_hub.pool.together import PATIENCE
from armillary_kernels.processes import Process
from armillary_kernels.together import Together

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
RULES = Rules()


def device(index, name="H100", memory=80 * 1024, state="working"):
    return BookedDevice(f"d{index}", index, name, memory, state, "", 0, 0)


GPUS = tuple(device(index) for index in range(4))


def lease(number, user="alice", wanted=1, **what):
    """A lease that waits since the ``number``-th second before now; ``devices`` make it a granted one."""
    values = {
        "id": str(number),
        "number": number,
        "user": user,
        "groups": (),
        "purpose": "kernel",
        "label": "",
        "wanted": wanted,
        "memory": None,
        "state": "granted" if what.get("devices") else "queued",
        "step": "",
        "holder": Process(number + 2, 1),
        "in_use": bool(what.get("devices")),
        "devices": (),
        "gpus": float(len(what.get("devices", ()))),
        "came_from": (),
        "asked_at": NOW,
        "granted_at": NOW if what.get("devices") else None,
        "waiting_since": None if what.get("devices") else NOW,
        "idle_since": None,
        "reason": "",
    }
    values |= what
    return Lease(**{"ages_since": values["waiting_since"], **values})


def granted(*leases, devices=GPUS, **what):
    return dict(decide(Situation(leases, devices, NOW, **what)).grants)


def suspended(*leases, devices=GPUS, **what):
    suspendable = frozenset(one.id for one in leases if one.idle_since)
    return decide(Situation(leases, devices, NOW, **{"suspendable": suspendable, **what})).suspensions


# Whose turn it is --------------------------------------------------------------------------------------------


def test_people_who_ask_at_once_take_turns():
    queue = [lease(number, "alice") for number in range(4)] + [lease(number, "bob") for number in range(4, 8)]
    assert sorted(granted(*queue)) == ["0", "1", "4", "5"]
    assert [one.id for one in order(Situation(queue, GPUS, NOW))] == ["0", "4", "1", "5", "2", "6", "3", "7"]


def test_who_has_used_less_lately_is_next():
    queue = lease(1, "alice"), lease(2, "bob")
    assert granted(*queue, devices=GPUS[:1], recent={"alice": 60.0}) == {"2": ("d0",)}


def test_who_weighs_more_has_used_less_than_it_seems():
    quotas = [QuotaRule("user", "alice", Quota(weight=4.0))]
    queue = lease(1, "alice"), lease(2, "bob")
    assert list(granted(*queue, devices=GPUS[:1], recent={"alice": 300.0, "bob": 100.0}, quotas=quotas)) == ["1"]


def test_waiting_makes_up_for_use():
    waited = timedelta(seconds=3600 / RULES.ageing)
    queue = lease(1, "alice", waiting_since=NOW - waited - timedelta(seconds=1)), lease(2, "bob")
    assert list(granted(*queue, devices=GPUS[:1], recent={"alice": 3600.0})) == ["1"]


def test_a_person_waits_but_once_however_many_asks_wait():
    long_ago = NOW - timedelta(hours=20)
    stuffed = [lease(number, waiting_since=long_ago) for number in range(1, 9)]
    bob = lease(99, "bob", waiting_since=NOW - timedelta(minutes=1))
    assert sorted(granted(*stuffed, bob, devices=GPUS[:2], recent={"alice": 3600.0})) == ["1", "99"]
    just_had_one = [replace(one, ages_since=NOW) for one in stuffed]
    assert list(granted(*just_had_one, bob, devices=GPUS[:1], recent={"alice": 3600.0})) == ["99"]
    assert [one.id for one in order(Situation(stuffed[:3], GPUS, NOW))] == ["1", "2", "3"], "one's own by their age"


def test_waiting_for_ones_own_quota_makes_up_for_nothing():
    long_ago = NOW - timedelta(hours=20)
    blocked = lease(1, waiting_since=long_ago, ages_since=None)
    bob = lease(2, "bob", waiting_since=NOW)
    assert list(granted(blocked, bob, devices=GPUS[:1], recent={"alice": 60.0})) == ["2"]


def test_it_is_said_who_waits_for_a_quota():
    quotas = [QuotaRule("user", "alice", Quota(gpus=1))]
    queue = [lease(1), lease(2), lease(3, "bob"), *together("alice", 4, 5)]
    assert decide(Situation(queue, GPUS, NOW, quotas=quotas)).at_quota == {"2", "4", "5"}


def test_who_comes_back_stands_ahead_of_new_asks():
    back = lease(2, "bob", state="suspended", came_from=("d0",))
    assert list(granted(lease(1, "alice"), back, devices=GPUS[:1])) == ["2"]


# What each gets ----------------------------------------------------------------------------------------------


def test_a_large_ask_gathers_while_small_ones_wait_behind():
    held = [lease(number, "carol", devices=(f"d{number}",)) for number in range(3)]
    large = lease(5, "alice", wanted=2, waiting_since=NOW - timedelta(hours=1))
    assert granted(*held, large, lease(6, "bob")) == {}
    assert granted(*held[1:], large, lease(6, "bob")) == {"5": ("d0", "d3")}


def test_free_gpus_that_others_could_have_are_charged_to_whom_they_are_kept_for():
    held = [lease(number, "carol", devices=(f"d{number}",)) for number in range(2)]
    large = lease(5, "alice", wanted=4, waiting_since=NOW - timedelta(hours=1))

    def kept(*queue, **what):
        return decide(Situation([*held, large, *queue], GPUS, NOW, **what)).kept_for

    assert kept(lease(6, "bob")) == {"5": 2}
    for harmed in ((), (lease(6, "alice"),), (lease(6, "bob", wanted=3),)):
        assert kept(*harmed) == {}, "nobody else could have them"
    assert kept(lease(6, "bob"), quotas=[QuotaRule("user", "bob", Quota(gpus=0))]) == {}
    situation = Situation([*held, large, lease(6, "bob"), lease(7, "bob", wanted=3)], GPUS, NOW)
    assert [waits_for(situation, one) for one in situation.leases[2:]] == ["turn", "gathering", "turn"]


def test_what_cannot_be_now_stops_nobody():
    devices = (*GPUS[:3], replace(GPUS[3], state="lost"))
    large = lease(1, "alice", wanted=4, waiting_since=NOW - timedelta(hours=1))
    assert granted(large, lease(2, "bob"), devices=devices) == {"2": ("d0",)}
    assert waits_for(Situation([large], devices, NOW), large) == "devices"


def test_devices_of_one_kind_are_given_together_and_the_scarce_kept_whole():
    mixed = (device(0, "A100"), *GPUS[1:], device(4, "A100"))
    assert granted(lease(1, wanted=2), devices=mixed) == {"1": ("d0", "d4")}
    assert granted(lease(1, wanted=3), devices=mixed) == {"1": ("d1", "d2", "d3")}
    assert granted(lease(1, wanted=4), devices=mixed) == {"1": ("d0", "d1", "d2", "d3")}


def test_several_gpus_of_one_process_are_whole_ones():
    parts = tuple(replace(device(n, "H100 MIG 1g.10gb"), uuid=f"MIG-{n}") for n in range(2))
    mixed = (*parts, device(2), device(3))
    assert granted(lease(1, wanted=2), devices=mixed) == {"1": ("d2", "d3")}
    assert granted(lease(1, wanted=2), devices=(*parts, device(2))) == {}
    assert granted(lease(1), lease(2), lease(3), devices=(*parts, device(2))).keys() == {"1", "2", "3"}
    assert granted(*together("alice", 1, 2, 3), devices=(*parts, device(2))).keys() == {"1", "2", "3"}
    assert granted(*together("alice", 1, 2, wanted=2), devices=(*parts, device(2), device(3))) == {}
    queue = lease(1, wanted=2, waiting_since=NOW - timedelta(hours=1)), lease(2, "bob")
    assert list(granted(*queue, devices=(*parts, device(2)))) == ["2"], "it keeps nothing from others"


def test_shares_fill_one_device_before_the_next():
    queue = [lease(number, f"user{number}", memory=30 * 1024) for number in range(3)]
    assert granted(*queue, lease(9, "zoe", wanted=2)) == {"0": ("d0",), "1": ("d0",), "2": ("d1",), "9": ("d2", "d3")}


def test_a_share_larger_than_any_device_waits_alone():
    assert list(granted(lease(1, memory=100 * 1024), lease(2, "bob"))) == ["2"]


@pytest.mark.parametrize(
    ("free", "moves", "given"),
    [
        ("d0 d1", True, ("d1",)),
        ("d0", True, ("d0",)),
        ("d0", False, ()),
        ("d4", True, ()),
    ],
)
def test_who_comes_back_gets_a_device_of_the_same_kind(free, moves, given):
    devices = (*GPUS, device(4, "A100"))
    held = [lease(n, "bob", devices=(f"d{n}",)) for n in range(5) if f"d{n}" not in free.split()]
    back = lease(9, state="suspended", came_from=("d1",))
    assert granted(*held, back, devices=devices, moves=moves).get("9", ()) == given


def test_without_gpus_everybody_gets_none_at_once():
    back = lease(3, state="suspended", came_from=("d0",))
    assert granted(lease(1, wanted=4), lease(2, "bob"), back, devices=()) == {"1": (), "2": ()}


# Quotas and reservations -------------------------------------------------------------------------------------


def test_who_is_at_a_quota_is_passed_over_and_comes_last():
    quotas = [QuotaRule("default", "", Quota(gpus=1.5))]
    queue = [lease(1), lease(2), lease(3, memory=40 * 1024), lease(4, "bob")]
    assert sorted(granted(*queue, quotas=quotas)) == ["1", "3", "4"]
    situation = Situation([lease(0, devices=("d0",)), *queue], GPUS, NOW, quotas=quotas)
    assert [one.id for one in order(situation)][-2:] == ["1", "2"]
    full = replace(situation, leases=[*situation.leases, lease(5, "carol", devices=("d1", "d2", "d3"))])
    assert [waits_for(full, one) for one in queue] == ["quota", "quota", "turn", "turn"]


def test_gpu_hours_of_the_day_run_out():
    quotas = [QuotaRule("group", "class", Quota(gpu_hours=2.0))]
    queue = lease(1, groups=("class",)), lease(2, "bob", groups=("class",)), lease(3, "carol")
    assert sorted(granted(*queue, quotas=quotas, day_hours={"alice": 2.0, "bob": 1.9, "carol": 9.0})) == ["2", "3"]


def reserved(devices, name="class"):
    return Reservation(f"r-{name}", "group", name, devices, NOW, NOW + timedelta(hours=2), "UTC", False, "", "root")


def test_a_reservation_keeps_its_gpus_for_its_members():
    members = [lease(number, f"member{number}", groups=("class",)) for number in range(5, 8)]
    others = [lease(number, f"user{number}", waiting_since=NOW - timedelta(hours=1)) for number in range(3)]
    assert sorted(granted(*others, reservations=[reserved(3)])) == ["0"]
    assert sorted(granted(*others, *members, reservations=[reserved(3)])) == ["0", "5", "6", "7"]


def test_what_members_hold_already_is_part_of_the_reservation():
    held = lease(9, "member", groups=("class",), devices=("d0",))
    assert sorted(granted(held, *(lease(n, f"user{n}") for n in range(3)), reservations=[reserved(2)])) == ["0", "1"]


def test_an_ask_larger_than_what_is_not_reserved_stops_nobody():
    large = lease(1, wanted=3, waiting_since=NOW - timedelta(hours=1))
    assert sorted(granted(large, lease(2, "bob"), reservations=[reserved(2)])) == ["2"]


def of_groups(*names):
    return [lease(number, f"user{number}", groups=(name,)) for number, name in enumerate(names, start=1)]


def test_reservations_that_keep_more_than_there_is_keep_it_one_after_the_other():
    both = [reserved(4, "class"), reserved(4, "lab")]
    assert sorted(granted(*of_groups("class", "lab", "class", "", "lab"), reservations=both)) == ["1", "3"]
    assert granted(*of_groups("lab", ""), reservations=both) == {}
    three = (*GPUS[:3], replace(GPUS[3], state="lost"))
    sound = [reserved(2, "class"), reserved(2, "lab")]
    queue = of_groups("lab", "lab", "class", "class", "")
    assert sorted(granted(*queue, reservations=sound, devices=three)) == ["1", "3", "4"]


def test_a_reservation_waits_for_no_later_one():
    held = [lease(number, "carol", devices=(f"d{number}",)) for number in (0, 1)]
    sound = [reserved(2, "class"), reserved(2, "lab")]
    assert sorted(granted(*held, *of_groups("class", "class"), reservations=sound)) == ["1", "2"]
    assert granted(*held, *of_groups("lab"), reservations=sound) == {}, "the earlier one comes first"


# Whose idle GPU is taken -------------------------------------------------------------------------------------

IDLE = NOW - timedelta(seconds=RULES.idle_after)


def busy(*numbers):
    return [lease(n, "carol", devices=(f"d{n}",)) for n in numbers]


def idle(number, minutes=0, **what):
    since = IDLE - timedelta(minutes=minutes)
    return lease(number, f"user{number}", **{"devices": (f"d{number}",), "idle_since": since, **what})


def test_the_longest_idle_goes_first_and_no_more_than_needed():
    assert suspended(*busy(0, 1), idle(2, 5), idle(3, 50), lease(9)) == ("3",)
    assert sorted(suspended(*busy(0, 1), idle(2, 5), idle(3, 50), lease(9, wanted=2))) == ["2", "3"]


@pytest.mark.parametrize(
    "lease_2",
    [
        {"idle_since": IDLE + timedelta(seconds=1)},
        {"in_use": False},
        {"step": "suspending"},
    ],
)
def test_who_is_not_idle_long_enough_or_already_goes_is_left_alone(lease_2):
    assert suspended(*busy(0, 1, 3), idle(2, **lease_2), lease(9)) == ()


def test_nobody_is_suspended_where_nobody_waits_or_it_would_not_help():
    assert suspended(*busy(0, 1, 3), idle(2)) == ()
    assert suspended(*busy(0, 1, 3), idle(2), lease(9, wanted=2)) == ()
    assert suspended(*busy(0, 1), idle(2), lease(9)) == (), "a GPU is free"
    assert suspended(*busy(0, 1, 3), idle(2), lease(9), suspendable=frozenset()) == ()


def test_one_that_goes_already_is_counted_on():
    assert suspended(*busy(0, 1), idle(2, step="suspending"), idle(3), lease(9)) == ()
    assert suspended(*busy(0, 1), idle(2, step="suspending"), idle(3), lease(8), lease(9, "bob")) == ("3",)


# Estimates ---------------------------------------------------------------------------------------------------


def estimated(*leases, lasted, of="9"):
    situation = Situation(leases, GPUS, NOW)
    queue = order(situation)
    wait = estimate(situation, queue, next(one for one in queue if one.id == of), lasted)
    return wait and wait.total_seconds()


def held_for(seconds, number):
    return lease(number, f"user{number}", devices=(f"d{number}",), granted_at=NOW - timedelta(seconds=seconds))


def test_the_wait_is_estimated_by_how_long_leases_last():
    standing = [held_for(seconds, n) for n, seconds in enumerate((10, 20, 30, 40))]
    assert estimated(*standing, lease(9), lasted=[100] * FEWEST) == 60
    assert estimated(*standing, lease(8, "bob"), lease(9), lasted=[100] * FEWEST) == 70
    assert estimated(*standing, lease(9, wanted=4), lasted=[100] * FEWEST) == 90


def test_nothing_is_said_where_nothing_is_known():
    standing = [held_for(10, n) for n in range(4)]
    assert estimated(*standing, lease(9), lasted=[100] * (FEWEST - 1)) is None
    assert estimated(*standing, lease(9), lasted=[5] * 100) is None


# Asks that belong together -----------------------------------------------------------------------------------

HOUR = timedelta(hours=1)


def together(user, *numbers, size=None, **what):
    group = Together("f", size or len(numbers))
    return [lease(number, user, together=group, **what) for number in numbers]


def test_of_two_pairs_that_ask_crosswise_one_gets_both_gpus():
    (a, b), (c, d) = together("alice", 1, 3), together("bob", 2, 4)
    assert granted(a, b, c, d, devices=GPUS[:2]) == {"1": ("d0",), "3": ("d1",)}
    assert granted(a, b, c, d, devices=GPUS[:3]) == {"1": ("d0",), "3": ("d1",)}, "the third is not half of bob's"
    assert sorted(granted(a, b, c, d)) == ["1", "2", "3", "4"]
    assert [one.id for one in order(Situation([a, b, c, d], GPUS, NOW))] == ["1", "3", "2", "4"]


def test_a_group_gathers_while_single_ones_wait_behind():
    held = [lease(number, "carol", devices=(f"d{number}",)) for number in range(3)]
    pair = together("alice", 5, 7, waiting_since=NOW - HOUR)
    assert granted(*held, *pair, lease(6, "bob")) == {}
    assert granted(*held[1:], *pair, lease(6, "bob")) == {"5": ("d0",), "7": ("d3",)}
    assert granted(*held, *pair, lease(6, "bob", waiting_since=NOW - 2 * HOUR)) == {"6": ("d3",)}


def test_each_of_a_group_gets_as_many_as_it_wants():
    assert granted(*together("alice", 1, 2, wanted=2)) == {"1": ("d0", "d1"), "2": ("d2", "d3")}


def test_nobody_waits_for_a_group_that_is_not_complete():
    first = together("alice", 1, size=2, waiting_since=NOW - HOUR)
    assert granted(*first, lease(2, "bob"), devices=GPUS[:1]) == {"2": ("d0",)}
    assert suspended(*busy(0, 1, 3), idle(2), *first) == ()
    second = together("bob", 3)
    assert list(granted(*first, *second)) == ["3"], "a group of the same name is another person's own"


def test_who_does_not_come_is_not_waited_for():
    one = lease(1, together=Together("f", 2), asked_at=NOW - PATIENCE)
    assert list(granted(one)) == ["1"]
    assert granted(one, lease(2, together=Together("f", 3))) == {}, "the newest says that a third one comes"
    assert sorted(granted(one, lease(2, together=Together("f", 2)))) == ["1", "2"]


def test_in_place_of_one_that_died_another_is_served_alone():
    alive = lease(1, devices=("d0",), together=Together("f", 2))
    assert list(granted(alive, *together("alice", 2, size=2))) == ["2"]
    back = replace(alive, state="suspended", devices=(), came_from=("d0",), waiting_since=NOW)
    assert sorted(granted(back, *together("alice", 2, size=2), devices=GPUS[:1])) == ["1"]


def test_a_group_that_is_more_than_the_quota_allows_waits_for_that_and_stops_nobody():
    quotas = [QuotaRule("default", "", Quota(gpus=2.0))]
    pair = together("alice", 1, 2, waiting_since=NOW - HOUR)
    assert sorted(granted(*pair, quotas=quotas)) == ["1", "2"]
    queue = [lease(0, devices=("d0",)), *pair, lease(3, "bob")]
    assert list(granted(*queue, quotas=quotas)) == ["3"]
    situation = Situation(queue, GPUS, NOW, quotas=quotas)
    assert [waits_for(situation, one) for one in pair] == ["quota", "quota"]
    assert waits_for(Situation(pair, GPUS[:1], NOW), pair[0]) == "devices"


def test_as_many_are_suspended_as_the_whole_group_needs():
    assert sorted(suspended(*busy(0), idle(1, 5), idle(2, 50), idle(3, 20), *together("alice", 8, 9))) == ["2", "3"]
    assert suspended(*busy(0, 1, 3), idle(2), *together("alice", 8, 9)) == (), "one alone does not help"


def test_each_of_a_group_waits_as_long_as_the_whole():
    standing = [held_for(seconds, n) for n, seconds in enumerate((10, 20, 30, 40))]
    pair = together("alice", 8, 9)
    assert [estimated(*standing, *pair, lasted=[100] * FEWEST, of=one) for one in "89"] == [70, 70]
