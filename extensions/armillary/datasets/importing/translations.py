"""Import of translation pairs from gettext's .po files, TMX (Translation Memory eXchange 1.4b) and pairs of texts."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack
from xml.etree.ElementTree import Element, ParseError

from armillary_kernels.texts import translator
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from armillary.datasets.dataset import Dataset
from armillary.datasets.features import Feature, Translation
from armillary.datasets.importing.downloads import local_copy
from armillary.datasets.importing.examples import Row, SaveOptions, download_options, save_rows
from armillary.datasets.importing.rejects import LISTED_IN_ERROR, BadExampleError
from armillary.datasets.importing.sources import BadFileError, FileSource, open_source
from armillary.datasets.importing.text_pairs import pairs_of_files, rows_of_lines
from armillary.errors import DatasetError

_ = translator(__file__)

_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
#: TMX 1.4b, section 3.2.5: what these hold is code of the document's format, no text.
_CODES = frozenset({"bpt", "ept", "ph", "it", "ut"})
_SPECIALS = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def import_translations(
    path: str | Path, name: str, languages: tuple[str, str], **options: Unpack[SaveOptions]
) -> Dataset:
    """Save translation pairs as a dataset.

    Parameters
    ----------
    path
        A ``.po`` or ``.tmx`` file, or a folder, zip or tar with such files; or its URL. Files (.po) whose header names
        another language are left out and reported. Where there are neither .po nor .tmx files, text files whose names
        differ only in the language are pairs line by line: ``news.en`` and ``news.zh``, ``en.txt`` and ``zh.txt``,
        ``en/news.txt`` and ``zh/news.txt``.
    name
        The dataset's name. When it is taken by a dataset of the same form, this becomes its next version.
    languages
        The language of the originals and that of the translations, such as ``("en", "zh")``. In TMX ``"zh"`` finds
        ``zh-CN`` too.
    options
        See `SaveOptions`.

    Returns
    -------
    Dataset
        Its column ``translation`` has a text in each language. Entries of a .po file that are fuzzy, obsolete or not
        translated are no pairs; of plural forms the first and the last one are taken.

    Raises
    ------
    DatasetError
        When there are no pairs, a file or an entry cannot be used, or nothing can be written.
    """
    if isinstance(languages, str) or not len(languages) == len(set(languages)) == 2:
        raise DatasetError(
            _("The languages are {languages!r}.", languages=languages), _('Give two, such as ("en", "zh").')
        )
    features: dict[str, Feature] = {"translation": Translation(tuple(languages))}
    step = {"step": "import_translations", "languages": list(languages)}
    ignored: list[dict[str, str]] = []
    with local_copy(path, **download_options(options)) as local:
        rows = list(translation_rows(local.path, languages, ignored))
    options.setdefault("source", local.source)
    if not rows:
        values = {"place": local.path.name, "code": languages[1]}
        left_out = "; ".join(f"{entry['file']}: {entry['reason']}" for entry in ignored[:LISTED_IN_ERROR])
        raise DatasetError(
            _("{place} has no translations into {code!r} ({left_out}).", **values, left_out=left_out)
            if left_out
            else _("{place} has no translations into {code!r}.", **values),
            _("Give .po or .tmx files of these languages, or text files such as {example}.", example="news.en"),
        )
    return save_rows(rows, features, name, None, step, total=len(rows), ignored=ignored, **options)


def translation_rows(path: Path, languages: tuple[str, str], ignored: list[dict[str, str]]) -> Iterator[Row]:
    """Yield what a file, folder or archive has of pairs, those that cannot be used too; add to ``ignored``."""
    if path.suffix.lower() in (".po", ".tmx"):
        try:
            data = path.read_bytes()
        except OSError as error:
            what = _("{path} cannot be read: {reason}.", path=path, reason=error.strerror)
            raise DatasetError(what, _("Check the path.")) from error
        yield from _rows_of(path.name, data, languages, ignored)
        return
    with open_source(path) as source:
        ignored += source.ignored()
        files = [file for file in source.paths() if file.lower().endswith((".po", ".tmx"))]
        for file in files:
            try:
                data = source.read(file)
            except BadFileError as error:
                yield _bad(file, str(error))
            else:
                yield from _rows_of(file, data, languages, ignored)
        if not files:
            yield from _line_rows(source, languages)


def _line_rows(source: FileSource, languages: tuple[str, str]) -> Iterator[Row]:
    for pair in pairs_of_files(source.paths(), languages):
        try:
            data = source.read(pair[0]), source.read(pair[1])
        except BadFileError as error:
            yield _bad(pair[0], str(error))
        else:
            yield from rows_of_lines(pair, data, languages)


def _rows_of(file: str, data: bytes, languages: tuple[str, str], ignored: list[dict[str, str]]) -> Iterator[Row]:
    if not file.lower().endswith(".po"):
        yield from _tmx_rows(file, data, languages)
    elif other := _other_language(data, languages[1]):
        ignored.append({"file": file, "reason": _("it is in {code!r}", code=other)})
    else:
        yield from _po_rows(file, data, languages)


def _pair(place: str, languages: tuple[str, str], original: str, translated: str) -> Row:
    pair = dict(zip(languages, (original, translated), strict=True))
    return Row(place, lambda: {"translation": pair})


def _bad(place: str, reason: str, raw: str = "") -> Row:
    def read() -> dict[str, str]:
        raise BadExampleError(reason)

    return Row(place, read, lambda: raw.encode("utf-8", "surrogateescape"))


# .po --------------------------------------------------------------------------------------------------------


@dataclass
class _Entry:
    """One entry of a .po file: the texts by keyword (``msgid``, ``msgstr[1]``), and its first line."""

    line: int
    texts: dict[str, str] = field(default_factory=dict)
    fuzzy: bool = False
    fault: str = ""
    raw: list[str] = field(default_factory=list)


def _po_rows(file: str, data: bytes, languages: tuple[str, str]) -> Iterator[Row]:
    if not data.strip():
        yield _bad(file, _("the file is empty"))
        return
    try:
        text = data.decode(_po_encoding(data), "surrogateescape")
    except (UnicodeError, LookupError):  # LookupError: what Python calls an encoding, but not of texts
        yield _bad(file, _("it is not in the encoding that the file declares"))
        return
    for entry in _entries(text):
        place = _("{file}, line {line}", file=file, line=entry.line)
        fault = entry.fault or _po_fault(entry)
        if fault:
            yield _bad(place, fault, "\n".join(entry.raw))
        elif not entry.fuzzy and entry.texts.get("msgid"):
            yield from _po_pairs(place, entry, languages)


def _po_fault(entry: _Entry) -> str:
    text = "".join(entry.texts.values())
    if not text.isprintable() and "\0" in text:
        return _("there is a NUL byte in it")
    if any("\udc80" <= character <= "\udcff" for character in text):
        return _("it is not in the encoding that the file declares")
    return "" if "msgid" in entry.texts and any(key.startswith("msgstr") for key in entry.texts) else _("it is cut")


def _po_pairs(place: str, entry: _Entry, languages: tuple[str, str]) -> Iterator[Row]:
    texts = entry.texts
    forms = [key for key in texts if key.startswith("msgstr")]
    pairs = [(texts["msgid"], texts[forms[0]])]
    if "msgid_plural" in texts and (len(forms) > 1 or forms[0] != "msgstr"):
        pairs.append((texts["msgid_plural"], texts[forms[-1]]))
    for original, translated in dict.fromkeys(pairs):
        if translated:
            yield _pair(place, languages, original, translated)


def _header(data: bytes, field: bytes) -> str:
    """Return what stands in a .po file's header after a word, such as ``Language:``; empty without it."""
    _before, _found, after = data[:4096].partition(field)
    return after.split(b"\\n")[0].split(b'"')[0].decode("ascii", "replace").strip()


def _other_language(data: bytes, wanted: str) -> str:
    """Return the language that a .po file says it is in, where it is another: zh is both zh_CN and zh_TW."""
    declared = _header(data, b'"Language:')
    said, asked = (re.split("[-_@.]", code.lower()) for code in (declared, wanted))
    same = said[0] == asked[0] and (len(asked) == 1 or len(said) == 1 or said[1] == asked[1])
    return "" if not declared or same else declared


def _po_encoding(data: bytes) -> str:
    """Return the encoding of the header's Content-Type, UTF-8 without one."""
    name = _header(data, b"charset=") or "utf-8"
    try:
        return "utf-8-sig" if codecs.lookup(name).name == "utf-8" else name
    except LookupError:
        return "utf-8-sig"


def _entries(text: str) -> Iterator[_Entry]:
    """Yield the entries of a .po file (GNU gettext manual, section 3)."""
    entry, keyword, fuzzy = _Entry(1), "", False
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        begins = line.startswith(("msgctxt", "msgid ")) and not (keyword == "msgctxt" and line.startswith("msgid "))
        if begins or not line:
            if entry.texts or entry.fault:
                yield entry
            entry, keyword = _Entry(number, fuzzy=fuzzy), ""
            fuzzy = fuzzy and not line
        if line.startswith("#"):
            obsolete = line.startswith("#~")  # what is said before an obsolete entry is said of that
            fuzzy = not obsolete and (fuzzy or (line.startswith("#,") and "fuzzy" in line))
        elif line:
            keyword = _take(entry, keyword, line)
            entry.raw.append(line)
    if entry.texts or entry.fault:
        yield entry


def _take(entry: _Entry, keyword: str, line: str) -> str:
    """Add a line to its entry and return the keyword that the next line goes on with."""
    if not line.startswith('"'):
        keyword, _space, line = line.partition(" ")
    if not keyword or len(line) < 2 or not (line.startswith('"') and line.endswith('"')):
        entry.fault = _("a text without quotes")
    else:
        entry.texts[keyword] = entry.texts.get(keyword, "") + _unescaped(line[1:-1])
    return keyword


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    result, characters = [], iter(text)
    for character in characters:
        if character == "\\":
            following = next(characters, "")
            result.append(_SPECIALS.get(following, "\\" + following))
        else:
            result.append(character)
    return "".join(result)


# TMX --------------------------------------------------------------------------------------------------------


def _tmx_rows(file: str, data: bytes, languages: tuple[str, str]) -> Iterator[Row]:
    try:
        root = fromstring(data, forbid_dtd=False)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        yield _bad(file, _("it is no TMX ({error})", error=error))
        return
    for number, unit in enumerate(root.iter("tu"), 1):
        place = _("{file}, unit {n}", file=file, n=number)
        texts = _tmx_texts(unit)
        pair = [_in_language(texts, language) for language in languages]
        if all(pair):
            yield _pair(place, languages, str(pair[0]), str(pair[1]))
        else:
            lacking = languages[0] if not pair[0] else languages[1]
            yield _bad(place, _("no text in {code!r}", code=lacking))


def _tmx_texts(unit: Element) -> dict[str, str]:
    texts = {}
    for variant in unit.iter("tuv"):
        segment = variant.find("seg")
        language = variant.get(_LANGUAGE) or variant.get("lang") or ""
        if segment is not None:
            texts[language.lower()] = "".join(_words(segment)).strip()
    return texts


def _words(segment: Element) -> Iterator[str]:
    """Yield the text of a segment without the codes of formats that stand in it, such as tags of HTML."""
    yield segment.text or ""
    for part in segment:
        if part.tag not in _CODES:
            yield from _words(part)
        yield part.tail or ""


def _in_language(texts: dict[str, str], language: str) -> str | None:
    wanted = language.lower()
    return texts.get(wanted) or next((text for key, text in texts.items() if key.split("-")[0] == wanted), None)
