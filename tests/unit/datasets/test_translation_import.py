"""Translation pairs from .po and TMX: escapes, plurals, fuzzy entries, encodings, damage."""

import re

import pytest
from armillary import datasets
from armillary.errors import DatasetError

PO = r"""
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"

# a comment
#: place.py:1
msgctxt "noun"
msgid "crow \"one\"\n"
msgstr ""
"乌"
"鸦\t一"

#, fuzzy
msgid "doubtful"
msgstr "可疑"

msgid "%d bird"
msgid_plural "%d birds"
msgstr[0] "%d 只鸟"

msgid "untranslated"
msgstr ""

#~ msgid "obsolete"
#~ msgstr "过时"

msgid "last"
msgstr "最后"
"""
TMX = """<?xml version="1.0"?><!DOCTYPE tmx SYSTEM "tmx14.dtd"><tmx version="1.4"><header/><body>
<tu><tuv xml:lang="en-US"><seg>bird</seg></tuv><tuv xml:lang="zh-CN"><seg>鸟<bpt i="1">b</bpt></seg></tuv></tu>
<tu><tuv xml:lang="EN"><seg>owl</seg></tuv><tuv lang="zh"><seg>猫头鹰</seg></tuv></tu>
{more}</body></tmx>"""
ENGLISH_ALONE = "<tu><tuv xml:lang='en'><seg>a</seg></tuv></tu>"


def pairs(path, **options):
    ds = datasets.import_translations(path, "pairs", ("en", "zh"), split=None, **options)
    return [(row["translation"]["en"], row["translation"]["zh"]) for row in ds.iterate()], ds


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_po_file(store, tmp_path, encoding):
    text = PO.replace("charset=UTF-8", "charset=GB18030") if encoding == "gb18030" else PO
    (tmp_path / "zh.po").write_text(text, encoding=encoding)
    assert pairs(tmp_path / "zh.po")[0] == [
        ('crow "one"\n', "乌鸦\t一"),
        ("%d bird", "%d 只鸟"),
        ("%d birds", "%d 只鸟"),
        ("last", "最后"),
    ]


def test_a_tmx_file_and_a_folder_with_both(store, tmp_path):
    (tmp_path / "both").mkdir()
    (tmp_path / "both/a.tmx").write_text(TMX.format(more=""), encoding="utf-8")
    (tmp_path / "both/b.po").write_text(PO, encoding="utf-8")
    assert pairs(tmp_path / "both/a.tmx")[0] == [("bird", "鸟"), ("owl", "猫头鹰")]
    assert len(pairs(tmp_path / "both")[0]) == 6


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.po", b"", "x.po: the file is empty"),
        ("x.po", PO.encode().replace('"最后"'.encode(), b'"\xff\xff"'), "x.po, line 28: it is not in the encoding"),
        ("x.po", PO.encode()[:-16], "x.po, line 28: it is cut"),
        ("x.po", PO.encode() + b'msgid "a\0b"\nmsgstr "c"\n', "x.po, line 30: there is a NUL byte in it"),
        ("x.po", PO.encode() + b'msgid broken"\nmsgstr "c"\n', "x.po, line 30: a text without quotes"),
        ("x.po", b"PNG, no text", "x.po, line 1: a text without quotes"),
        ("x.po", PO.encode().replace(b"UTF-8", b"zlib"), "x.po: it is not in the encoding that the file declares"),
        ("x.po", PO.encode().replace(b"UTF-8", b"utf-16"), "x.po: it is not in the encoding that"),
        ("x.tmx", b"", "x.tmx: it is no TMX"),
        ("x.tmx", b"<tmx><tu>", "x.tmx: it is no TMX"),
        ("x.tmx", b'<!DOCTYPE a [<!ENTITY b "b">]><tmx>&b;</tmx>', "x.tmx: it is no TMX .*Entities"),
        (
            "x.tmx",
            TMX.format(more="<tu><tuv xml:lang='en'><seg>a</seg></tuv></tu>").encode(),
            "unit 3: no text in 'zh'",
        ),
    ],
)
def test_a_damaged_entry_is_named_and_may_be_left_out(store, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        pairs(tmp_path / name)
    assert datasets.list() == []
    if b"bird" in content and "x.po: " not in message:
        found, ds = pairs(tmp_path / name, on_error="set_aside")
        assert len(found) >= 2
        assert len(ds.skipped) == 1


def test_nothing_to_find_is_named(store, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"empty has no translations into 'zh'"):
        pairs(tmp_path / "empty")
    with pytest.raises(DatasetError, match=r"gone.po cannot be read: No such file"):
        pairs(tmp_path / "gone.po")
    for languages in (("en", "en"), ("en", "zh", "en"), "en"):
        with pytest.raises(DatasetError, match=rf"The languages are {re.escape(repr(languages))}. Give two"):
            datasets.import_translations(tmp_path, "x", languages)


def test_files_of_a_folder_that_are_in_another_language_are_left_out_and_reported(store, tmp_path):
    """Their translations were taken for Chinese ones."""
    folder = tmp_path / "po"
    folder.mkdir()
    for code, text in (("de", "Vogel"), ("zh_CN", "鸟"), ("zh_TW", "鳥")):
        header = f'msgid ""\nmsgstr ""\n"Language: {code}\\n"\n\n'
        (folder / f"{code}.po").write_text(f'{header}msgid "bird"\nmsgstr "{text}"\n', encoding="utf-8")
    found, ds = pairs(folder)
    assert found == [("bird", "鸟"), ("bird", "鳥")]
    assert ds.report["ignored"] == [{"file": "de.po", "reason": "it is in 'de'"}]
    assert datasets.import_translations(folder, "taiwan", ("en", "zh-TW"), split=None).to_pandas().shape[0] == 1
    with pytest.raises(DatasetError, match=r"de.po has no translations into 'zh' \(de.po: it is in 'de'\). Give"):
        pairs(folder / "de.po")
    assert datasets.import_translations(folder / "de.po", "german", ("en", "de"), split=None).to_pandas().shape[0] == 1


def test_an_entry_after_a_doubtful_obsolete_one_is_not_doubtful(store, tmp_path):
    text = '#, fuzzy\n#~ msgid "old"\n#~ msgstr "旧"\n\nmsgid "new"\nmsgstr "新"\n'
    (tmp_path / "zh.po").write_text(text, encoding="utf-8")
    assert pairs(tmp_path / "zh.po")[0] == [("new", "新")]


def test_lines_end_where_a_line_ends(store, tmp_path):
    """U+2028 within a line divided it, too, and gave each line after it the translation of another."""
    (tmp_path / "a.en").write_bytes("one\u2028more\ntwo\x0bmore\r\nthree\x85more\rfour\n".encode())
    (tmp_path / "a.zh").write_bytes("一\n二\n三\u2028多\n四".encode())
    assert pairs(tmp_path)[0] == [
        ("one\u2028more", "一"),
        ("two\x0bmore", "二"),
        ("three\x85more", "三\u2028多"),
        ("four", "四"),
    ]
