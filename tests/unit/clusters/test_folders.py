"""The folder of a cluster: made whole, private, and removed whole."""

import socket
import stat

import pytest
from armillary_hub.clusters.folders import ClusterFolder


@pytest.fixture
def folder(tmp_path):
    made = ClusterFolder(tmp_path / "clusters" / "0123456789ab", account=None)
    made.make(b"certificate", b"key")
    return made


def test_only_the_account_may_enter_or_read(folder):
    for path, mode in ((folder.path, 0o700), (folder.work, 0o700), (folder.certificate, 0o400), (folder.key, 0o400)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert folder.key.read_bytes() == b"key"


def test_no_folder_is_taken_over(folder):
    with pytest.raises(FileExistsError):
        folder.make(b"other", b"other")
    assert folder.certificate.read_bytes() == b"certificate"


def test_a_log_never_follows_a_link(folder, tmp_path):
    (folder.logs / "scheduler.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        folder.open_log("scheduler")
    assert not (tmp_path / "elsewhere").exists()


def test_last_lines_of_a_log(folder):
    with folder.open_log("worker-1") as log:
        log.write(b"\n".join(str(number).encode() for number in range(100)))
    assert folder.last_lines("worker-1", 2) == "98\n99"
    assert folder.last_lines("none") == ""


def test_private(folder):
    with folder.bind_dashboard(), socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(str(folder.dashboard_socket))
        assert stat.S_IMODE(folder.dashboard_socket.stat().st_mode) == 0o600


def test_removed_whole(folder):
    folder.remove()
    assert not folder.path.exists()
