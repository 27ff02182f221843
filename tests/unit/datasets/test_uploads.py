"""Uploads: pieces, cuts, other windows, full disks; driven as the browser drives them."""

import io
import os
import time
import zlib

import pytest
from armillary.datasets.uploading import parts
from armillary.datasets.uploading.parts import Announced, MissingPieceError, Upload, plain_name
from armillary.datasets.uploading.uploader import SUFFIXES, Uploader
from armillary.errors import DatasetError
from support.full_disk import file_size_limit

DATA = bytes(range(256)) * 20
FILE = Announced("digits.zip", len(DATA), 1_700_000_000_000)


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "uploads"


class Browser:
    """The other end of an uploader: a page of a person's."""

    def __init__(self, uploader, name="digits.zip", data=DATA, id="1"):  # noqa: A002 (the message's own word)
        self.answers, self.name, self.data, self.id, self.round = [], name, data, id, 0
        self._uploader = uploader
        uploader.send = lambda content, buffers=None: self.answers.append(content)

    def send(self, kind, *buffers, **content):
        message = {"type": kind, "id": self.id, "round": self.round, **content}
        self._uploader._receive(self._uploader, message, [memoryview(data) for data in buffers])
        return self.answers[-1] if self.answers else None

    def begin(self, modified=1_700_000_000_000):
        return self.send("begin", name=self.name, size=len(self.data), modified=modified)

    def pieces(self, first=0, last=None, piece=1000):
        last = len(self.data) if last is None else last
        for offset in range(first, last, piece):
            self.send("piece", self.data[offset : min(offset + piece, last)], offset=offset)
        return self.answers[-1]


@pytest.fixture
def uploader(uploads):
    made = Uploader()
    yield made
    made.close()


def test_pieces_become_the_file(uploader, uploads):
    browser = Browser(uploader, name="../../digits.zip")
    assert browser.begin() == {"type": "begun", "id": "1", "round": 0, "received": 0}
    assert browser.pieces()["type"] == "done"
    assert [answer["received"] for answer in browser.answers[1:]] == [1000, 2000, 3000, 4000, 5000, 5120]
    assert uploader.file.name == "digits.zip"
    assert uploader.file.parent.parent == uploads
    assert uploader.file.read_bytes() == DATA
    assert uploader.file.stat().st_mode & 0o077 == 0
    uploader.forget()
    assert list(uploads.iterdir()) == []


def test_an_empty_file_is_whole_at_once(uploader):
    browser = Browser(uploader, name="empty.csv", data=b"")
    browser.begin()
    assert browser.send("continue")["type"] == "done"
    assert uploader.file.read_bytes() == b""


def test_after_a_lost_connection_it_goes_on_where_it_was(uploader):
    browser = Browser(uploader)
    browser.begin()
    browser.pieces(0, 2000)
    browser.send("piece", DATA[3000:4000], offset=3000)  # the piece before it was lost on the way
    assert browser.answers[-1]["type"] == "gap"
    browser.round = 1
    assert browser.send("continue")["received"] == 2000
    number = len(browser.answers)
    browser.send("piece", DATA[2000:3000], offset=2000, round=0)  # sent before, arrived late: of no account
    assert len(browser.answers) == number
    assert browser.pieces(2000)["type"] == "done"
    assert uploader.file.read_bytes() == DATA


def test_after_a_reload_another_kernel_goes_on_with_the_same_file(uploader, uploads):
    Browser(uploader).begin()
    Browser(uploader).pieces(0, 3000)
    other = Uploader()
    browser = Browser(other, id="2")
    answer = browser.begin()
    assert answer == {"type": "begun", "id": "2", "round": 0, "received": 3000, "check": zlib.crc32(DATA[:3000])}
    browser.round = 1
    assert browser.send("continue")["received"] == 3000
    old = Browser(uploader)
    old.send("piece", DATA[3000:4000], offset=3000)
    assert old.answers[-1] == {
        "type": "refused",
        "id": "1",
        "message": "The upload of digits.zip goes on in another window. Look there.",
    }
    assert browser.pieces(3000)["type"] == "done"
    assert other.file.read_bytes() == DATA
    other.close()


def test_a_file_that_begins_otherwise_begins_anew(uploader):
    browser = Browser(uploader)
    browser.begin()
    browser.pieces(0, 3000)
    changed = Browser(uploader, data=DATA[::-1], id="2")
    assert changed.begin()["received"] == 3000
    changed.round = 1
    assert changed.send("again")["received"] == 0
    assert changed.pieces()["type"] == "done"
    assert uploader.file.read_bytes() == DATA[::-1]


def test_a_file_that_is_here_already_is_not_sent_again(uploader):
    browser = Browser(uploader)
    browser.begin()
    browser.pieces()
    again = Browser(uploader, id="2")
    assert again.begin()["received"] == len(DATA)
    assert uploader.file is None
    assert again.send("continue")["type"] == "done"
    assert uploader.file.read_bytes() == DATA
    changed = Browser(uploader, data=DATA[::-1], id="3")
    changed.begin()
    changed.send("again")
    changed.pieces()
    assert uploader.file.read_bytes() == DATA[::-1]


def test_files_of_one_name_do_not_meet(uploads):
    one, other = Upload(FILE), Upload(Announced("digits.zip", len(DATA), 5))
    one.write(0, DATA)
    other.write(0, DATA[::-1])
    assert one.finish().read_bytes() == DATA
    assert other.finish().read_bytes() == DATA[::-1]


def test_a_second_file_waits_for_the_first_unless_its_page_is_gone(uploader):
    first = Browser(uploader)
    first.begin()
    second = Browser(uploader, name="other.csv", id="2")
    assert second.begin()["message"] == (
        "digits.zip is being uploaded in another window. Wait for it, or cancel it there."
    )
    uploader._heard -= 60
    assert second.begin()["type"] == "begun"


@pytest.mark.parametrize("name", ["run.exe", "..", "", "zip", ".zip", "a\n.zip", "a\0.csv"])
def test_other_kinds_of_files_are_refused_in_words(uploader, name):
    browser = Browser(uploader, name=name, data=b"x")
    answer = browser.begin()
    assert answer["type"] == "refused"
    assert "cannot be imported. Give one of these: .zip, .tar" in answer["message"]
    assert uploader.file is None


@pytest.mark.parametrize(
    ("name", "plain"),
    [("../a.zip", "a.zip"), ("C:\\x\\a.CSV", "a.CSV"), ("/etc/a.tar.gz", "a.tar.gz"), ("鸟.json", "鸟.json")],
)
def test_only_the_last_part_of_a_name_is_taken(name, plain):
    assert plain_name(name, SUFFIXES) == plain


def test_a_name_too_long_for_the_disk_is_refused():
    with pytest.raises(DatasetError, match="is too long"):
        plain_name("x" * 250 + ".zip", SUFFIXES)


def test_a_file_larger_than_the_disk_is_refused_before_it_is_sent(uploader, uploads):
    browser = Browser(uploader)
    answer = browser.send("begin", name="a.zip", size=10**18, modified=0)
    assert "MB are free. Free space, or set ARMILLARY_CACHE" in answer["message"]
    assert list(uploads.iterdir()) == []


def test_a_folder_larger_than_an_import_takes_is_refused_before_it_is_sent(uploader):
    answer = Browser(uploader).send("begin", name="a.tar", size=2**35, modified=0)
    assert "the limit is" in answer["message"]


def test_a_disk_that_fills_up_keeps_what_is_there_and_takes_the_rest_later(uploader):
    browser = Browser(uploader)
    browser.begin()
    with file_size_limit(2500):
        answer = browser.pieces()
    assert answer["message"] == (
        "The disk is full: the upload of digits.zip has stopped. "
        "Free space and give the same file again; it goes on where it stopped."
    )
    again = Browser(uploader, id="2")
    assert again.begin()["received"] == 2000
    again.send("continue")
    assert again.pieces(2000)["type"] == "done"
    assert uploader.file.read_bytes() == DATA


def test_a_disk_without_room_for_the_rest_keeps_what_has_arrived(uploads):
    large = Announced("large.zip", 10**18, 0)
    (uploads / large.key).mkdir(parents=True)
    (uploads / large.key / "part").write_bytes(DATA)
    with pytest.raises(DatasetError, match=r"MB are free"):
        Upload(large)
    assert (uploads / large.key / "part").read_bytes() == DATA


def test_a_page_that_another_has_taken_over_from_removes_nothing_by_cancelling(uploads):
    older = Upload(FILE)
    older.write(0, DATA[:1000])
    newer = Upload(FILE)
    older.cancel()
    newer.write(1000, DATA[1000:])
    assert newer.finish().read_bytes() == DATA
    newer.cancel()
    assert list(uploads.iterdir()) == []


def test_a_piece_without_its_bytes_is_refused_in_words(uploader):
    browser = Browser(uploader)
    browser.begin()
    assert browser.send("piece", offset=0)["message"] == "The upload broke off. Try again."


def test_more_than_was_announced_is_refused(uploader):
    browser = Browser(uploader)
    browser.begin()
    assert browser.send("piece", DATA + b"!", offset=0)["message"] == "The upload broke off. Try again."
    assert uploader.file is None


def test_a_cancelled_upload_leaves_nothing_and_stragglers_are_dropped(uploader, uploads):
    browser = Browser(uploader)
    browser.begin()
    browser.pieces(0, 1000)
    browser.send("cancel")
    browser.send("piece", DATA[1000:2000], offset=1000)
    assert browser.send("continue") == {"type": "unknown", "id": "1"}
    assert uploader.file is None
    assert list(uploads.iterdir()) == []


def test_a_link_in_the_parts_place_is_not_followed(uploads, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"kept")
    (uploads / FILE.key).mkdir(parents=True)
    (uploads / FILE.key / "part").symlink_to(secret)
    with pytest.raises(OSError, match="symbolic links"):
        Upload(FILE)
    assert secret.read_bytes() == b"kept"


def test_a_missing_piece_is_noticed(uploads):
    upload = Upload(FILE)
    with pytest.raises(MissingPieceError):
        upload.write(5, b"12345")
    assert upload.received == 0


def test_what_nobody_touched_for_a_week_goes(uploads):
    old, new = Upload(FILE), Upload(Announced("b.csv", 5, 0))
    old.write(0, DATA)
    week_ago = time.time() - parts.KEPT - 60
    for path in (*(uploads / FILE.key).iterdir(), uploads / FILE.key):
        os.utime(path, (week_ago, week_ago))
    parts.remove_old_uploads()
    assert not (uploads / FILE.key).exists()
    new.write(0, b"12345")


def test_forgetting_spares_files_that_are_no_uploads(uploads, tmp_path):
    own = tmp_path / "own.csv"
    own.write_bytes(b"kept")
    parts.forget(own)
    assert own.exists()


def test_the_checksum_is_that_of_the_part(uploads):
    upload = Upload(FILE)
    upload.write(0, DATA[:1234])
    assert upload.checksum() == zlib.crc32(io.BytesIO(DATA).read(1234))
