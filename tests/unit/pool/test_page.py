"""The pool's page: what each person reads there, and the forms by which admins share GPUs out."""

import re
from datetime import timedelta
from html import unescape

import pytest
from armillary_hub.cli.gpus import _latest, tables
from armillary_hub.pool.database import leases
from armillary_hub.pool.devices import GpuProcess
from armillary_hub.pool.history import MINUTES, History
from armillary_hub.pool.samples import DeviceSample
from armillary_hub.pool.suspender import NoSuspender
from armillary_hub.pool.views import Books
from armillary_kernels.errors import ArmillaryError
from rich.console import Console
from sqlalchemy import update
from support.pool_world import World

ADMIN = "admin:root"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, gpus=2)
    yield world
    world.close()


def page(world, user, language="en", path=""):
    return text_of(world.page(path, user, language))


def text_of(answer):
    """Return what a page says, without its tags; labels that only screen readers hear come too."""
    labels = re.sub(r'<\w+[^>]*aria-label="([^"]*)"[^>]*>', r" \1 ", answer.text)
    return unescape(re.sub(r"\s+", " ", re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", labels, flags=re.DOTALL)))


def in_a_shell(state):
    """Return what ``armillary gpus`` prints."""
    told = Console(record=True, width=140)
    told.print(tables(state))
    return told.export_text()


def granted(world, user, **what):
    answer = world.ask(user, world.processes.start(), **{"devices": 1, **what})
    world.bind(user, answer.json()["id"], world.processes.start())
    return answer.json()["id"]


def test_a_person_who_waits_reads_the_place_what_it_waits_for_and_the_own_use(world):
    world.request("PUT", "quotas/default", ADMIN, {"gpus": 2, "gpu_hours": 10, "weight": None})
    granted(world, "alice", label="secret.ipynb")
    granted(world, "bob", label="digits.ipynb")
    world.pass_time(3600)
    world.ask("bob", world.processes.start(), devices=1, label="second.ipynb")
    shown = page(world, "bob")
    assert "You wait for 1 GPU: place 1 of 1 in the queue. second.ipynb" in shown
    assert "Waits for: its turn. Estimate: nobody can say yet." in shown
    assert "GPUs that you hold 1 of 2" in shown
    assert "GPU-hours in the last 24 hours 1 of 10" in shown
    assert "1 h 0 min" in shown
    assert "digits.ipynb" in shown
    assert "secret.ipynb" not in shown
    assert "队列共 1 位，您排第 1 位" in page(world, "bob", "zh-CN")
    assert "secret.ipynb" in page(world, ADMIN)


def test_an_own_suspended_kernel_says_where_its_memory_is(world):
    lease = granted(world, "alice", label="digits.ipynb")
    world.suspend("alice", lease)
    assert "Being suspended" in page(world, "bob")
    world.finish_task()
    world.pass_time(7200)
    assert "Your digits.ipynb is suspended since 2026-11-24 09:00 UTC. Its memory is kept" in page(world, "alice")
    others = page(world, "bob")
    assert "Suspended What they had in a GPU is kept" in others
    assert "alice Kernel 1 GPU 2 h 0 min" in others
    assert world.request("GET", "", "bob").json()["leases"][0]["suspended_since"] == "2026-11-24T09:00:00+00:00"


def test_what_takes_long_is_made_in_a_thread_and_others_are_answered_meanwhile(world, monkeypatch):
    lease = granted(world, "alice")
    in_threads = []

    async def note(function, *arguments, **options):
        in_threads.append(True)
        try:
            return function(*arguments)
        finally:
            in_threads.pop()

    monkeypatch.setattr("support.pool_world._at_once", note)
    made = Books.device, Books.lease, Books.change
    for method in made:

        def noted(books, what, method=method):
            assert in_threads, "the event loop makes nothing"
            return method(books, what)

        monkeypatch.setattr(Books, method.__name__, noted)
    for path in ("", f"leases/{lease}", "history"):
        assert world.request("GET", path, ADMIN if path != f"leases/{lease}" else "alice").status_code == 200
    monkeypatch.setattr("armillary_hub.pool.page_api.gpus_page", lambda *_, **__: str(bool(in_threads)))
    assert world.page("", "alice").text == "True"
    assert world.send_form(ADMIN, {**QUOTA, "gpus": "two"}).text == "True"


def test_the_driver_is_named(world):
    assert world.request("GET", "", ADMIN).json()["driver"] is None
    assert "NVIDIA driver" not in page(world, "alice")
    world.gpus.driver = "580.65.06"
    world.pool.look_at_devices()
    state = world.request("GET", "", ADMIN).json()
    assert state["driver"] == "580.65.06"
    assert "NVIDIA 驱动 580.65.06" in page(world, "alice", "zh-CN")
    assert "NVIDIA driver 580.65.06" in in_a_shell(state)


def test_the_first_lines_say_what_becomes_of_idle_kernels_here(world):
    assert "idle for 10 min gives its GPU to whoever waits" in page(world, "alice")
    world.pool._suspender = NoSuspender()
    assert "A kernel holds its GPUs until it is shut down." in page(world, "alice")


def test_the_last_hour_is_drawn_and_told(world):
    now = world.store.clock.now()
    for minutes, used, part in ((70, 100, 1.0), (30, 8192, 0.5), (1, 4096, 0.25)):
        sample = DeviceSample(now - timedelta(minutes=minutes), "GPU-0", used, part)
        world.pool.samples.add(sample.at, [sample])
    shown = page(world, "alice")
    assert "GPU 0 in the last hour: busy 25%, mean 38%, max 50%, memory 4 GiB, max 8 GiB" in shown
    assert "GPU 1 in the last hour" not in shown
    hour = world.request("GET", "utilisation", "alice").json()["devices"]
    assert [hour[0]["utilisation"][29], hour[0]["memory"][58]] == [0.5, 4096 * 2**20]
    assert [one for one in hour[1]["utilisation"] if one is not None] == []


def test_a_history_is_of_minutes_and_leaves_gaps(world):
    now = world.store.clock.now()
    samples = [DeviceSample(now - timedelta(seconds=age), "GPU-0", age, part) for age, part in ((30, 1.0), (10, None))]
    history = History.of(samples, now)
    assert history.utilisation == (*[None] * (MINUTES - 1), 1.0)
    assert (history.memory[-1], history.used.now, history.worked.now) == (30, 10, None)


@pytest.mark.parametrize("path", ["lost", "failing"])
def test_a_gpu_in_trouble_says_so(world, path):
    granted(world, "alice", devices=2)
    getattr(world.gpus, path).add("GPU-1")
    world.pool.look_at_devices()
    assert {"lost": "Lost", "failing": "Out of order ERR!"}[path] in page(world, "bob")


def test_use_without_a_lease_is_shown_to_everybody(world):
    assert "Use without a lease" not in page(world, "alice")
    rogue = world.processes.start()
    for _ in range(2):
        now, use = world.store.clock.now(), GpuProcess(rogue.pid, "GPU-1", 2048)
        world.pool.samples.add(now, [DeviceSample(now, "GPU-1", 2048, 1.0)], [use])
        world.pool.enforcement.look()
    shown = page(world, "alice")
    assert re.search(rf"Use without a lease .* GPU 1 .* {rogue.pid} 2 GiB no lease", shown)
    assert "armillary_gpu_unleased_processes 1.0" in world.request("GET", "metrics", ADMIN).text
    told = in_a_shell(world.request("GET", "", "alice").json())
    assert re.search(rf"Process {rogue.pid} of .* on GPU 1: no lease\.", told)


def test_a_shell_tells_idle_suspended_and_shares(world):
    idle, suspended = granted(world, "alice", memory=4096), granted(world, "bob")
    world.request("PUT", f"leases/{idle}/activity", "alice", {"busy": False})
    world.suspend("bob", suspended)
    world.finish_task()
    world.ask("carol", world.processes.start(), devices=2)
    text = in_a_shell(world.request("GET", "", "alice").json())
    assert re.search(r"│ 0 .* idle .* alice", text)
    assert re.search(r"Suspended(.|\n)* bob .* kernel", text)
    assert re.search(r"Queue(.|\n)*│ 1 │ carol .* 2 .* turn", text)


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("[/x].ipynb", "[/x].ipynb"),
        ("[red]a[/red].ipynb", "[red]a[/red].ipynb"),
        (":fire:.ipynb", ":fire:.ipynb"),
        ("a\u202e\u2066.ipynb", "a.ipynb"),
    ],
)
def test_a_shell_shows_a_name_as_it_is_and_its_terminal_obeys_none(world, label, shown):
    suspended = granted(world, "bob", label=label)
    world.suspend("bob", suspended)
    world.finish_task()
    granted(world, "alice", label=label, devices=2)
    world.ask("carol", world.processes.start(), devices=1, label=label)
    text = in_a_shell(world.request("GET", "", ADMIN).json())
    assert text.count(f"kernel · {shown} ") == 4  # two GPUs, one who is suspended, one who waits
    assert not set(text) & set("\u202e\u2066")


def test_an_error_in_a_shell_that_watches_is_shown_as_it_is():
    def fail():
        raise ArmillaryError("No [/x].", "Try :fire:.")

    told = Console(record=True)
    told.print(_latest(fail))
    assert told.export_text() == "No [/x]. Try :fire:.\n"


QUOTA = {"action": "set-quota", "scope": "user", "name": "alice", "gpus": "1.5", "gpu_hours": "", "weight": "2"}
TUESDAY = {"action": "reserve", "scope": "group", "name": "class", "devices": "2", "timezone": "Europe/Berlin"}
TUESDAY |= {"starts": "2026-12-01T09:00", "ends": "2026-12-01T11:00", "weekly": "true", "note": "<vision>"}


def test_an_admin_sets_changes_and_removes_a_quota(world):
    answer = world.send_form(ADMIN, QUOTA)
    assert (answer.status_code, answer.headers["location"]) == (303, "/services/gpu-pool/?done=set-quota#done")
    assert "The quota is set." in page(world, ADMIN, path="?done=set-quota")
    assert world.rows("SELECT * FROM quotas") == [
        {"scope": "user", "name": "alice", "gpus": 1.5, "gpu_hours": None, "weight": 2.0}
    ]
    editing = world.page("?quota=user/alice", ADMIN).text
    assert 'id="set-quota-gpus" name="gpus" value="1.5"' in editing
    world.send_form(ADMIN, {**QUOTA, "scope": "default", "name": "ignored", "gpus": "4"})
    assert "Everybody else 4 no limit 2" in page(world, ADMIN)
    assert world.send_form(ADMIN, {"action": "remove-quota", "scope": "user", "name": "alice"}).status_code == 303
    assert [row["scope"] for row in world.rows("SELECT * FROM quotas")] == ["default"]


def test_an_admin_reserves_gpus_and_everybody_reads_it(world):
    assert world.send_form(ADMIN, TUESDAY).status_code == 303
    shown = page(world, "bob")
    assert "Group class 2 every Tuesday 09:00–11:00 Europe/Berlin in 6 d 23 h <vision> by root" in shown
    assert "每周二 09:00–11:00" in page(world, "bob", "zh-CN")
    assert "Remove" not in shown
    made = world.request("GET", "reservations", "bob").json()["reservations"][0]["id"]
    assert world.send_form(ADMIN, {"action": "remove-reservation", "id": made}).status_code == 303
    assert "Nothing is reserved." in page(world, "bob")


@pytest.mark.parametrize(
    ("form", "change", "field", "said"),
    [
        (QUOTA, {"gpus": "two"}, "gpus", "A number of GPUs, such as 2 or 0.5; empty for no limit."),
        (QUOTA, {"gpus": "-1"}, "gpus", "A number of GPUs, such as 2 or 0.5; empty for no limit."),
        (QUOTA, {"gpu_hours": "1e9"}, "gpu_hours", "A number of hours, such as 8; empty for no limit."),
        (QUOTA, {"weight": "0"}, "weight", "A number above 0; 1 is usual."),
        (QUOTA, {"name": " "}, "name", "Name the user or the group."),
        (TUESDAY, {"name": ""}, "name", "Name the user or the group."),
        (TUESDAY, {"devices": "3"}, "devices", "3 GPUs were to be reserved; this machine has 2. Reserve 2 at most."),
        (TUESDAY, {"devices": "0"}, "devices", "How many GPUs: 1 or more."),
        (TUESDAY, {"starts": ""}, "starts", "A date and a time."),
        (TUESDAY, {"ends": "2026-12-01T08:00"}, "ends", "It must end after it starts."),
        (TUESDAY, {"starts": "0001-01-01T00:00"}, "starts", "The year must be between 2000 and 2999."),
        (TUESDAY, {"ends": "2026-12-21T08:00"}, "ends", "What comes every week lasts a week at most."),
        (
            TUESDAY,
            {"starts": "2027-03-28T02:10", "ends": "2027-03-28T03:10", "timezone": "Europe/Berlin"},
            "starts",
            "There is no such time: the clocks are put forward then.",
        ),
        (TUESDAY, {"timezone": "Mars/Olympus"}, "timezone", "There is no such time zone."),
        (
            TUESDAY,
            {"starts": "2025-12-01T09:00", "ends": "2025-12-01T11:00", "weekly": ""},
            "ends",
            "The reservation is over already.",
        ),
    ],
)
def test_what_is_wrong_with_a_form_stands_at_its_field_and_nothing_typed_is_lost(world, form, change, field, said):
    sent = {**form, **change}
    answer = world.send_form(ADMIN, sent)
    assert answer.status_code == 422
    named = f"{sent['action']}-{field}"
    assert f'id="{named}-problem">{said.split(".")[0]}' in unescape(answer.text)
    assert re.search(rf'id="{named}"[^>]*aria-invalid="true" aria-describedby="{named}-problem"', answer.text)
    for name in ("name", "devices", "gpus", "starts", "timezone", "weight"):
        if name in sent:
            assert re.search(
                rf'id="{sent["action"]}-{name}" name="{name}" value="{re.escape(sent[name])}"', answer.text
            )
    assert world.rows("SELECT * FROM quotas") == world.rows("SELECT * FROM reservations") == []


def test_several_wrong_fields_are_named_at_once_and_in_chinese(world):
    answer = world.send_form(ADMIN, {**QUOTA, "name": "", "gpus": "x", "weight": "x"}, "zh")
    assert answer.text.count('class="hint problem"') == 3
    assert "请填写用户或组的名称。" in answer.text


def test_people_suspend_their_own_kernels_and_admins_anybodys(world):
    lease = granted(world, "alice")
    form = {"action": "suspend", "lease": lease}
    assert "Suspend now" not in page(world, "alice"), "it is busy"
    world.request("PUT", f"leases/{lease}/activity", "alice", {"busy": False})
    assert "Suspend now" in page(world, "alice")
    assert "Suspend now" not in page(world, "bob")
    assert "Suspend now" in page(world, ADMIN)
    assert world.send_form("bob", form).status_code == 404
    assert world.send_form("alice", form).status_code == 303
    answer = world.send_form(ADMIN, form)
    assert answer.status_code == 409
    assert "The lease cannot be suspended" in text_of(answer)


@pytest.mark.parametrize("action", ["set-quota", "remove-quota", "reserve", "remove-reservation"])
def test_only_admins_share_gpus_out(world, action):
    assert world.send_form("alice", {**QUOTA, "action": action}).status_code == 403
    assert "Set a quota" not in page(world, "alice")
    assert world.rows("SELECT * FROM quotas") == []


@pytest.mark.parametrize("action", ["set-quota", "remove-quota"])
def test_a_quota_form_that_names_nobody_changes_nothing(world, action):
    world.request("PUT", "quotas/default", ADMIN, {"gpus": 1})
    answer = world.send_form(ADMIN, {"action": action, "gpus": "5"})
    assert answer.status_code == 422
    assert "Say for whom: a user, a group or everybody else." in text_of(answer)
    assert [row["gpus"] for row in world.rows("SELECT * FROM quotas")] == [1.0]


def test_a_form_of_another_page_does_nothing(world):
    answer = world.send_form(ADMIN, {"action": "mine bitcoin"})
    assert (answer.status_code, answer.json()["error"]["what"]) == (400, "The form names no action.")


def test_the_release_button_ends_ones_own_program_too(world):
    lease = granted(world, "alice")
    holder = world.pool.store.get(lease).holder
    assert world.request("POST", f"leases/{lease}/release", "bob").status_code == 404
    assert world.processes.is_alive(holder)
    assert world.request("POST", f"leases/{lease}/release", "alice").json()["state"] == "released"
    assert not world.processes.is_alive(holder)
    assert world.pool.store.get(lease).state == "released"


def test_a_machine_without_gpus_says_so(tmp_path):
    world = World(tmp_path, gpus=0)
    granted(world, "alice")
    assert "no GPU that can be used. Kernels run on the CPU. Kernels now: 1." in page(world, "alice")
    world.close()


def test_a_restart_that_was_announced_is_shown(world):
    lease = granted(world, "alice")
    with world.store.database.transaction() as connection:
        ends = update(leases).where(leases.c.id == lease).values(ends_at=world.wall + timedelta(minutes=10))
        connection.execute(ends)
    assert "restarted at 09:10 UTC, unless a cell is run" in page(world, "alice")
