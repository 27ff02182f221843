"""Texts and their translations line by line: ``news.en`` and ``news.zh``, ``en.txt`` and ``zh.txt``.

Two files belong together when their paths differ in nothing but the code of the language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from armillary_kernels.texts import translator

from armillary.datasets.importing.examples import Row
from armillary.datasets.importing.lines import lines_of
from armillary.datasets.importing.rejects import BadExampleError

_ = translator(__file__)

_LISTED = """
af am ar az be bg bn bs ca cs cy da de el en eo es et eu fa fi fr ga gl gu he hi hr hu hy id is it
ja jv ka kk km kn ko ku ky la lo lt lv mg mi mk ml mn mr ms mt my nb ne nl nn no pa pl ps pt qu ro
ru rw si sk sl so sq sr sv sw ta te tg th tk tl tr tt ug uk ur uz vi xh yi yo zh zu
"""
#: ISO 639-1, the languages that translations are most often of; others are found when they are asked for.
CODES = frozenset(_LISTED.split())
_CODE = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2,3}(?:[-_][A-Za-z]{2,4})?)(?![A-Za-z0-9])")
_TEXT = ".txt"


def is_language(code: str, languages: Iterable[str] = CODES) -> bool:
    """Return whether a code such as ``"zh-CN"`` or ``"zh"`` is one of these languages."""
    plain = code.lower().replace("_", "-")
    return any(plain == language.lower() or plain.split("-")[0] == language.lower() for language in languages)


def by_language(paths: Iterable[str], languages: Iterable[str] = CODES) -> dict[str, dict[str, str]]:
    """Return the files that differ only in their language: by what they share, each by its code.

    >>> by_language(["news.en", "news.zh"])
    {'news.*': {'en': 'news.en', 'zh': 'news.zh'}}
    """
    found: dict[str, dict[str, str]] = {}
    for path in paths:
        suffix = PurePosixPath(path).suffix.lower()
        if suffix == _TEXT or is_language(suffix[1:], languages):
            for match in _CODE.finditer(path.removesuffix(_TEXT)):
                if is_language(match[1], languages):
                    found.setdefault(f"{path[: match.start()]}*{path[match.end() :]}", {})[match[1]] = path
    return {shared: files for shared, files in found.items() if len(files) > 1}


def code_in(path: str) -> str | None:
    """Return the last code of a language in a path: ``"zh_CN"`` of ``locale/zh_CN/LC_MESSAGES/django.po``."""
    codes = [code for code in _CODE.findall(str(PurePosixPath(path).with_suffix(""))) if is_language(code)]
    return codes[-1] if codes else None


def pairs_of_files(paths: Iterable[str], languages: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the files of two languages that belong together, the originals first."""
    found = []
    for files in by_language(paths, languages).values():
        both = [_of(files, language) for language in languages]
        if both[0] and both[1]:
            found.append((both[0], both[1]))
    return list(dict.fromkeys(found))


def _of(files: Mapping[str, str], language: str) -> str | None:
    exact = next((path for code, path in files.items() if code.lower() == language.lower()), None)
    return exact or next((path for code, path in files.items() if is_language(code, [language])), None)


def rows_of_lines(files: tuple[str, str], data: tuple[bytes, bytes], languages: tuple[str, str]) -> Iterator[Row]:
    """Yield a pair for each line; where the files have not the same number of lines, none is sure of its partner."""
    texts = []
    for file, content in zip(files, data, strict=True):
        try:
            texts.append([line.strip() for line in lines_of(content.decode("utf-8-sig"))])
        except UnicodeDecodeError:
            yield _bad(file, _("it is not encoded in {encoding}", encoding="utf-8"))
            return
    if len(texts[0]) != len(texts[1]):
        counts = {"n": len(texts[0]), "other": files[1], "m": len(texts[1])}
        yield _bad(files[0], _("it has {n} lines, but {other} has {m}", **counts))
        return
    in_words = _("{file}, line {line}")
    for number, pair in enumerate(zip(*texts, strict=True), 1):
        place = in_words.format(file=files[0], line=number)
        if not all(pair):
            if any(pair):
                yield _bad(place, _("no text in {code!r}", code=languages[0] if not pair[0] else languages[1]))
        elif any("\0" in text for text in pair):
            yield _bad(place, _("there is a NUL byte in it"))
        else:
            yield _pair(place, dict(zip(languages, pair, strict=True)))


def _pair(place: str, pair: dict[str, str]) -> Row:
    return Row(place, lambda: {"translation": pair})


def _bad(place: str, reason: str) -> Row:
    def read() -> dict[str, str]:
        raise BadExampleError(reason)

    return Row(place, read)
