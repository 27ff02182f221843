"""The folders and Unix groups of shared datasets, with real accounts."""

import grp
import os
import pwd
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from armillary_hub.accounts import unix_accounts
from armillary_hub.accounts.shared_folders import keep_in_step, unix_group
from armillary_hub.settings import Settings

pytestmark = [
    pytest.mark.team,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make Unix accounts"),
]


@pytest.fixture(scope="module")
def settings():
    settings = Settings(home=Path(f"/tmp/shr-{uuid.uuid4().hex[:8]}"), mode="team")
    settings.make_folders()
    yield settings
    for folder in settings.shared_dir.iterdir():
        subprocess.run(["groupdel", folder.name], check=True)
    subprocess.run(["rm", "-rf", settings.home], check=True)


@pytest.fixture
def people(settings):
    """Two people of the group vision and one who is not."""
    names = [f"t{uuid.uuid4().hex[:8]}" for _number in range(3)]
    for name, groups in zip(names, (["everyone", "vision"], ["everyone", "vision"], ["everyone"]), strict=True):
        unix_accounts.add_account(settings, name)
        keep_in_step(settings, name, groups)
    yield names
    for name in names:
        if unix_accounts._find(name):
            unix_accounts.remove_account(settings, name)


def can(name, code):
    """Return whether a person's process, with the groups that the account has now, can do something."""
    account = pwd.getpwnam(name)
    groups = {"group": account.pw_gid, "extra_groups": os.getgrouplist(name, account.pw_gid)}
    program = f"import os\nfrom pathlib import Path\nos.umask(0o077)\n{code}"
    done = subprocess.run([sys.executable, "-c", program], user=account.pw_uid, cwd="/", capture_output=True, **groups)
    assert done.returncode == 0 or b"PermissionError" in done.stderr, done.stderr.decode()
    return done.returncode == 0


def test_the_owner_writes_the_group_reads_and_others_see_nothing(settings, people):
    ann, bob, cleo = people
    folder = settings.shared_dir / unix_group(settings, "vision")
    own = folder / ann
    assert can(
        ann, f"p = Path('{own}/d'); p.mkdir(); p.chmod(0o2750); (p / 'f').write_text('x'); (p / 'f').chmod(0o444)"
    )
    assert can(bob, f"(Path('{own}') / 'd' / 'f').read_text()")
    assert can(bob, f"assert os.listdir('{folder}')")
    for attempt in (f"open('{own}/d/f')", f"os.listdir('{own}')", f"os.listdir('{folder}')", f"os.stat('{own}/d/f')"):
        assert not can(cleo, attempt)
    for attempt in (
        f"open('{own}/d/f', 'w')",
        f"os.chmod('{own}/d/f', 0o666)",
        f"os.unlink('{own}/d/f')",
        f"os.rename('{own}', '{folder}/mine')",
        f"os.mkdir('{own}/e')",
        f"os.mkdir('{folder}/{cleo}')",
        f"os.rmdir('{folder}/{bob}'), os.mkdir('{folder}/x')",
        f"open('{folder}/.group', 'w')",
        f"os.listdir('{settings.shared_dir}')",
    ):
        assert not can(bob, attempt), attempt
    assert (folder / ".group").read_text() == "vision"
    assert grp.getgrgid((own / "d").stat().st_gid).gr_name == folder.name


def test_groups_follow_the_hubs(settings, people):
    ann, bob, cleo = people
    folder = settings.shared_dir / unix_group(settings, "vision")
    subprocess.run(["usermod", "--append", "--groups", "games", bob], check=True)
    keep_in_step(settings, bob, ["everyone"])
    assert not can(bob, f"os.listdir('{folder}')")
    assert bob in grp.getgrnam("games").gr_mem, "groups that the hub did not make are the admin's"
    assert not (folder / bob).exists(), "nothing was shared in it"
    keep_in_step(settings, cleo, ["everyone", "vision"])
    assert can(cleo, f"os.listdir('{folder}/{ann}')")
    keep_in_step(settings, cleo, ["everyone", "vision"])
    assert sorted(grp.getgrnam(folder.name).gr_mem) == sorted([ann, cleo])


def test_what_a_removed_person_shared_stays_and_no_namesake_gets_it(settings, people):
    ann, bob, _cleo = people
    folder = settings.shared_dir / unix_group(settings, "everyone")
    assert can(ann, f"p = Path('{folder}/{ann}/d'); p.mkdir(0o777); p.chmod(0o777); (p / 'f').write_text('x')")
    assert can(
        ann, f"Path('{folder}/{ann}/d/link').symlink_to('/etc/hostname'); os.chmod('{folder}/{ann}/d/f', 0o4777)"
    )
    before = Path("/etc/hostname").stat().st_mode & 0o7777
    unix_accounts.remove_account(settings, ann)
    assert can(bob, f"open('{folder}/{ann}/d/f').read()")
    assert not can(bob, f"os.mkdir('{folder}/{ann}/d/x')")
    assert {path.lstat().st_uid for path in (folder / ann).rglob("*")} == {0}
    assert (folder / ann / "d" / "f").stat().st_mode & 0o7777 == 0o444
    assert (Path("/etc/hostname").stat().st_mode & 0o7777) == before
    unix_accounts.add_account(settings, ann)
    keep_in_step(settings, ann, ["everyone"])
    assert list((folder / ann).iterdir()) == []
