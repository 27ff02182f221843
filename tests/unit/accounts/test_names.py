"""Which names people may have."""

import pytest
from armillary_hub.accounts.errors import NameRefused
from armillary_hub.accounts.names import is_valid, require_person_name


@pytest.mark.parametrize("name", ["a", "ann", "ann-2", "x" * 31])
def test_good_names(name):
    require_person_name(name)


@pytest.mark.parametrize(
    "name", ["", "Ann", "2ann", "-ann", "ann_b", "ann.b", "ann b", "ann\n", "../ann", "änn", "x" * 32, "app-digits"]
)
def test_bad_names(name):
    with pytest.raises(NameRefused):
        require_person_name(name)


def test_robot_accounts_have_valid_names_that_no_person_can_have():
    assert is_valid("app-digits")
    with pytest.raises(NameRefused) as refused:
        require_person_name("app-digits")
    assert refused.value.told("en") == (
        "'app-digits' cannot be a user name: names that begin with 'app-' are reserved for apps."
    )
    assert "保留给应用" in refused.value.told("zh")
