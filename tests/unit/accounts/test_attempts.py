"""How often somebody may get a password wrong."""

import pytest
from armillary_hub.accounts.attempts import PER_ADDRESS, PER_NAME, PER_NAME_AND_ADDRESS, WINDOW, Attempts


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def attempts(clock):
    return Attempts(clock)


def test_a_name_waits_after_too_many_failures_from_one_address(attempts, clock):
    for _ in range(PER_NAME_AND_ADDRESS):
        assert attempts.seconds_to_wait("ann", "10.0.0.1") == 0
        attempts.begin("ann", "10.0.0.1")
    assert attempts.seconds_to_wait("ann", "10.0.0.1") == WINDOW
    assert attempts.seconds_to_wait("ann", "10.0.0.2") == 0, "the person at another address is not shut out"
    assert attempts.seconds_to_wait("bob", "10.0.0.1") == 0
    clock.now += WINDOW
    assert attempts.seconds_to_wait("ann", "10.0.0.1") == 0


def test_the_wait_ends_when_the_oldest_failure_that_counts_is_old_enough(attempts, clock):
    for _ in range(PER_NAME_AND_ADDRESS):
        attempts.begin("ann", "10.0.0.1")
        clock.now += 10
    assert attempts.seconds_to_wait("ann", "10.0.0.1") == pytest.approx(WINDOW - 10 * PER_NAME_AND_ADDRESS)


def test_success_forgets_the_failures_of_that_name_from_that_address_only(attempts):
    for _ in range(PER_NAME_AND_ADDRESS - 1):
        attempts.begin("ann", "10.0.0.1")
    attempts.begin("ann", "10.0.0.1")
    attempts.succeed("ann", "10.0.0.1")
    assert attempts.seconds_to_wait("ann", "10.0.0.1") == 0


def test_an_address_that_tries_many_names_waits(attempts):
    for number in range(PER_ADDRESS):
        attempts.begin(f"name{number}", "10.0.0.1")
    assert attempts.seconds_to_wait("another", "10.0.0.1") == WINDOW
    assert attempts.seconds_to_wait("another", "10.0.0.2") == 0


def test_an_own_account_does_not_reset_the_count_of_an_address(attempts):
    for number in range(PER_ADDRESS):
        attempts.begin("mine", "10.0.0.1")
        attempts.succeed("mine", "10.0.0.1")
        attempts.begin(f"name{number}", "10.0.0.1")
    assert attempts.seconds_to_wait("another", "10.0.0.1") == WINDOW


def test_a_name_tried_from_many_addresses_waits(attempts):
    for number in range(PER_NAME):
        attempts.begin("ann", f"10.0.0.{number}")
    assert attempts.seconds_to_wait("ann", "10.9.9.9") == WINDOW


def test_memory_stays_bounded(attempts, monkeypatch):
    monkeypatch.setattr("armillary_hub.accounts.attempts.LARGEST", 30)
    for number in range(200):
        attempts.begin(f"name{number}", f"10.0.0.{number}")
    assert len(attempts._times) <= 30
