"""Accounts against a real deployment: invitations, sign-in, the People page, removal, in both modes."""

import contextlib
import grp
import pwd
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from armillary_hub.accounts.database import engine_for
from armillary_hub.accounts.invitations import InvitationStore, link, recovery_link
from support.visitor import PASSWORD, Visitor, invitation_links


def new_name(prefix="p"):
    return f"{prefix}{uuid.uuid4().hex[:8]}"


def invitations_of(deployment):
    return InvitationStore(engine_for(deployment.settings.database_url("passwords")))


def new_admin_link(deployment):
    """Return a link as the one of the first start, whoever used that one."""
    return link(deployment.settings, invitations_of(deployment).create(None, admin=True))


@contextlib.contextmanager
def admin_of(deployment):
    name = new_name("admin")
    with Visitor(deployment.url) as visitor:
        visitor.accept(new_admin_link(deployment), username=name)
        yield visitor
    deployment.remove_user(name)


@pytest.fixture(scope="module")
def admin(deployment):
    """An admin who is signed in."""
    with admin_of(deployment) as visitor:
        yield visitor


@pytest.fixture
def visitor(deployment):
    """Somebody who is not signed in."""
    with Visitor(deployment.url) as visitor:
        yield visitor


@pytest.fixture
def ann(deployment, admin):
    """The name of a person who has set a password."""
    name = new_name("ann")
    with Visitor(deployment.url) as visitor:
        assert visitor.accept(admin.invite(name)[name]).status_code == 200
    return name


def groups_of(deployment, name):
    return deployment.request("GET", f"/users/{name}").json()["groups"]


# Invitations ------------------------------------------------------------------------------------------------


def test_the_first_admin_chooses_a_name_and_a_password(deployment, visitor):
    first = new_admin_link(deployment)
    assert 'value="admin"' in visitor.get(first).text
    for refused in ("app-digits", "Ann", "x" * 32):
        response = visitor.accept(first, username=refused)
        assert response.status_code == 400
        assert "cannot be a user name" in response.text
    name = new_name("ada")
    assert visitor.accept(first, username=name).status_code == 200
    assert visitor.name == name
    assert visitor.get("/hub/people").status_code == 200
    assert visitor.get(first).status_code == 404


def test_an_invitation_works_once(deployment, admin, visitor):
    name = new_name()
    invitation = admin.invite(name)[name]
    assert visitor.get(invitation).status_code == 200, "opening the link does not use it up"
    assert visitor.accept(invitation).url.path == "/hub/home"
    assert visitor.name == name
    with Visitor(deployment.url) as another:
        assert another.accept(invitation, "another long password").status_code == 404
        assert another.sign_in(name, "another long password").status_code == 403
        assert another.sign_in(name).status_code == 200


def test_a_new_invitation_sets_a_new_password_and_ends_the_older_link(deployment, admin, ann, visitor):
    older, newer = (invitation_links(admin.submit("/hub/people", action="invite", name=ann))[ann] for _ in range(2))
    assert visitor.accept(older, "a brand new password").status_code == 404
    assert visitor.sign_in(ann).status_code == 200, "the old password works until the new one is set"
    with Visitor(deployment.url) as another:
        assert another.accept(newer, "a brand new password").status_code == 200
        assert another.name == ann


def test_the_machines_administrator_gets_a_new_link(deployment, ann, visitor):
    printed = deployment.armillary("invite", ann)
    assert printed.returncode == 0, printed.stderr
    (invitation,) = re.findall(r"http://\S+/hub/invitation/\S+", printed.stdout)
    assert visitor.accept(invitation, "a brand new password").status_code == 200
    assert visitor.name == ann


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody-here", "There is no person called 'nobody-here'. Admins add people on the hub's People page."),
        ("app-digits", "reserved for apps"),
    ],
)
def test_only_people_get_a_link(deployment, name, said):
    refused = deployment.armillary("invite", name)
    assert refused.returncode == 1
    assert said in " ".join(refused.stderr.split())
    assert name not in invitations_of(deployment).pending()


def test_an_expired_invitation_is_refused(deployment, admin, visitor):
    name = new_name()
    admin.invite(name)
    token = invitations_of(deployment).create(name, lifetime=timedelta(seconds=-1))
    response = visitor.accept(link(deployment.settings, token))
    assert response.status_code == 404
    assert "Ask an admin for a new invitation link" in response.text
    assert "Invitation expired" in admin.get("/hub/people").text


@pytest.mark.parametrize(
    ("password", "repeated", "said"),
    [
        ("short", "short", "at least 10 characters"),
        ("a good long password", "a good long passwort", "The two passwords differ"),
        ("aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaa", "too easily guessed"),
    ],
)
def test_a_bad_password_leaves_the_invitation_as_it_was(admin, visitor, password, repeated, said):
    name = new_name()
    path = "/hub/invitation/" + admin.invite(name)[name].rsplit("/", 1)[1]
    response = visitor.submit(path, password=password, repeated=repeated)
    assert response.status_code == 400
    assert said in response.text
    assert visitor.accept(path).status_code == 200


# Signing in -------------------------------------------------------------------------------------------------


def test_only_the_right_password_signs_in(ann, visitor):
    for name, password in ((ann, "a wrong password"), (new_name("nobody"), PASSWORD), (ann, "")):
        response = visitor.sign_in(name, password)
        assert response.status_code == 403
        assert "Invalid username or password" in response.text
        assert visitor.name is None
    assert visitor.sign_in(ann).status_code == 200
    assert visitor.name == ann


def test_after_too_many_wrong_passwords_even_the_right_one_waits(ann, visitor):
    for _ in range(5):
        assert visitor.sign_in(ann, "a wrong password").status_code == 403
    response = visitor.sign_in(ann)
    assert response.status_code == 429
    assert "Too many wrong passwords. Try again in 5 minutes." in response.text
    assert 0 < int(response.headers["Retry-After"]) <= 300


def test_nobody_signs_in_as_an_app(deployment, visitor):
    name = f"app-{uuid.uuid4().hex[:8]}"
    deployment.add_user(name)
    try:
        response = visitor.sign_in(name)
        assert response.status_code == 403
        assert "reserved for apps" in response.text
        assert "everyone" not in groups_of(deployment, name)
        token = recovery_link(deployment.settings, name)
        assert visitor.accept(token).status_code == 400
    finally:
        deployment.remove_user(name)


def test_pages_speak_chinese_to_those_who_ask_for_it(deployment):
    with Visitor(deployment.url, "zh-CN,zh;q=0.9,en;q=0.5") as visitor:
        page = visitor.sign_in(new_name("nobody"), "a wrong password").text
        assert '<html lang="zh-CN">' in page
        assert "用户名或密码错误" in page


def test_people_change_their_own_password(deployment, ann, visitor):
    visitor.sign_in(ann)
    wrong = visitor.submit("/hub/password", old="not it", password="a brand new one", repeated="a brand new one")
    assert wrong.status_code == 400
    assert "The old password is wrong" in wrong.text
    changed = visitor.submit("/hub/password", old=PASSWORD, password="a brand new one", repeated="a brand new one")
    assert "Your password is changed" in changed.text
    assert visitor.name == ann, "the session goes on, as the page says"
    with Visitor(deployment.url) as another:
        assert another.sign_in(ann).status_code == 403
        assert another.sign_in(ann, "a brand new one").status_code == 200


# The People page --------------------------------------------------------------------------------------------


def test_the_people_page_is_for_admins(ann, visitor):
    assert visitor.get("/hub/people").url.path == "/hub/login"
    visitor.sign_in(ann)
    refused = visitor.get("/hub/people")
    assert refused.status_code == 403
    assert "Only admins can open the People page" in refused.text
    assert visitor.submit("/hub/people", page="/hub/password", action="add", names="eve").status_code == 403


def test_a_form_without_its_token_does_nothing(deployment, admin):
    name = new_name()
    response = admin.client.post("/hub/people", data={"action": "add", "names": name})
    assert response.status_code == 403
    assert deployment.request("GET", f"/users/{name}").status_code == 404


def test_one_bad_name_adds_nobody(deployment, admin, ann):
    good = new_name()
    response = admin.submit("/hub/people", action="add", names=f"{good}, app-digits {ann} Bob_1")
    assert response.status_code == 400
    for said in (
        "reserved for apps",
        f"&#39;{ann}&#39; is there already",
        "&#39;Bob_1&#39; cannot be",
        "Nobody was added",
    ):
        assert said in response.text
    assert deployment.request("GET", f"/users/{good}").status_code == 404


def test_several_people_are_added_at_once_and_belong_to_everyone(deployment, admin):
    names = [new_name(), new_name()]
    assert set(admin.invite(*names)) == set(names)
    for name in names:
        assert groups_of(deployment, name) == ["everyone"]


def test_admins_are_made_and_unmade(deployment, admin, ann, visitor):
    visitor.sign_in(ann)
    admin.submit("/hub/people", action="make-admin", name=ann)
    assert visitor.get("/hub/people").status_code == 200
    admin.submit("/hub/people", action="end-admin", name=ann)
    assert visitor.get("/hub/people").status_code == 403


def test_no_admin_removes_or_demotes_themselves(admin):
    for action in ("remove", "end-admin"):
        response = admin.submit("/hub/people", action=action, name=admin.name)
        assert response.status_code == 400
        assert "Nobody can do this to themselves" in response.text
    assert admin.get("/hub/people").status_code == 200


def test_a_removed_person_loses_access_at_once_and_no_file(deployment, admin, ann, visitor):
    visitor.sign_in(ann)
    token = deployment.token(ann)
    (deployment.settings.users_dir / ann / "work.txt").write_text("mine")
    response = admin.submit("/hub/people", action="remove", name=ann)
    assert response.status_code == 200
    assert f"&#39;{ann}&#39; is removed" in response.text
    assert visitor.name is None
    assert deployment.request("GET", "/user", token=token).status_code == 403
    assert visitor.sign_in(ann).status_code == 403
    assert [path.read_text() for path in deployment.home.glob(f"removed/{ann}-*/work.txt")] == ["mine"]
    admin.invite(ann)
    assert visitor.sign_in(ann).status_code == 403, "a namesake does not inherit the password"


def test_a_person_added_by_the_api_is_invited_on_the_page(deployment, admin, visitor):
    name = new_name()
    deployment.add_user(name)
    assert groups_of(deployment, name) == ["everyone"]
    assert "Not invited yet" in admin.get("/hub/people").text
    invitation = invitation_links(admin.submit("/hub/people", action="invite", name=name))[name]
    assert visitor.accept(invitation).status_code == 200


def test_names_stay(deployment, ann):
    response = deployment.request("PATCH", f"/users/{ann}", json={"name": new_name()})
    assert response.status_code == 400
    assert deployment.request("GET", f"/users/{ann}").status_code == 200


@pytest.mark.parametrize("page", ["home", "people", "password", "token", "admin"])
def test_each_page_asks_for_nothing_elsewhere(admin, page):
    response = admin.get(f"/hub/{page}")
    assert response.status_code == 200
    assert 'src="http' not in response.text
    assert 'rel="stylesheet" href="http' not in response.text


def test_a_refused_app_is_named(ann, visitor):
    visitor.sign_in(ann)
    response = visitor.get("/hub/user/app-nosuch/")
    assert response.status_code == 404
    assert "You have no access to the app &#39;nosuch&#39;" in response.text


# Team mode --------------------------------------------------------------------------------------------------


@pytest.mark.team
def test_people_of_a_team_have_unix_accounts(team_deployment):
    name, users = new_name("t"), team_deployment.settings.users_dir
    with admin_of(team_deployment) as admin:
        assert name in admin.invite(name)
        account = pwd.getpwnam(name)
        assert grp.getgrgid(account.pw_gid).gr_name == "armillary"
        assert (users / name).stat().st_mode & 0o777 == 0o700
        assert admin.submit("/hub/people", action="remove", name=name).status_code == 200
    with pytest.raises(KeyError):
        pwd.getpwnam(name)
    assert not (users / name).exists()
    assert list(team_deployment.home.glob(f"removed/{name}-*"))


@pytest.mark.team
def test_a_form_that_is_sent_twice_makes_the_first_admin_once(team_deployment):
    """As by a double click: the second sending comes while the account is being made."""
    name, invitation = new_name("ada"), new_admin_link(team_deployment)
    with Visitor(team_deployment.url) as visitor, ThreadPoolExecutor(2) as both:
        token = re.search(r'name="_xsrf" value="([^"]+)"', visitor.get(invitation).text)[1]
        form = {"_xsrf": token, "username": name, "password": PASSWORD, "repeated": PASSWORD}
        answers = list(both.map(lambda _: visitor.client.post(invitation, data=form), range(2)))
        assert [(answer.status_code, answer.url.path) for answer in answers] == [(200, "/hub/home")] * 2
        assert visitor.name == name
        assert visitor.get("/hub/people").status_code == 200
    team_deployment.remove_user(name)


@pytest.mark.team
def test_an_account_of_the_machine_is_nobodys_name(team_deployment):
    with admin_of(team_deployment) as admin:
        response = admin.submit("/hub/people", action="add", names="daemon")
        assert response.status_code == 400
        assert "&#39;daemon&#39; is an account of this machine that Armillary did not make" in response.text
        assert team_deployment.request("GET", "/users/daemon").status_code == 404
    assert team_deployment.request("POST", "/users/daemon").status_code == 400
    assert team_deployment.request("GET", "/users/daemon").status_code == 404
