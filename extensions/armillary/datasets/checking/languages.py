"""In which languages the texts of a column are; py3langid tells them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from armillary_kernels.texts import translator

from armillary.datasets.checking.findings import Finding, removal
from armillary.errors import DatasetError

_ = translator(__file__)

#: A text too short or too doubtful is of no language; a language with this share is one of the dataset's.
_LETTERS, _SURE, _USUAL = 20, 0.9, 0.05
_LETTERS_OF_IDEOGRAMS = 6
_READ = 400
#: Those that many write; short texts are often taken for rare ones.
_CODES = frozenset(
    {
        *("ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "gu", "he", "hi", "hr"),
        *("hu", "hy", "id", "it", "ja", "ka", "kn", "ko", "lt", "lv", "mk", "ml", "mr", "ms", "nl", "no", "pa", "pl"),
        *("pt", "ro", "ru", "sk", "sl", "sq", "sv", "sw", "ta", "te", "th", "tr", "uk", "ur", "vi", "zh"),
    }
)


#: Languages that go by another code here, or that cannot be told from one another.
_SAME = {"nb": "no", "nn": "no", "iw": "he", "in": "id"}


@cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        what = _("Languages cannot be told: {error}.", error=error)
        raise DatasetError(what, _("Install armillary[data].")) from error
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([code for code in identifier.labels if code in _CODES])
    return identifier


def language(text: str) -> tuple[str, float] | None:
    """Return the language of a text (ISO 639) and how sure that is, from 0 to 1; None when it cannot be told."""
    start = text[:_READ]
    letters = sum(letter.isalpha() for letter in start)
    ideograms = sum("\u3040" <= letter <= "\u9fff" for letter in start)
    if letters < (_LETTERS_OF_IDEOGRAMS if ideograms > letters / 2 else _LETTERS):
        return None
    code, probability = _identifier().classify(start)
    if ideograms > letters / 2 and code in ("zh", "ja"):  # the two share letters, few of which decide
        return code, max(float(probability), _SURE)
    return (code, float(probability)) if probability >= _SURE else None


@dataclass
class Languages:
    """The languages of one column.

    Attributes
    ----------
    declared
        The language that its texts should be in, if that is known.
    """

    column: str
    declared: str | None = None
    found: dict[int, tuple[str, float]] = field(default_factory=dict)

    def see(self, row: int, text: str) -> None:
        """Look at a text."""
        told = language(text)
        if told is not None:
            self.found[row] = told

    @property
    def expected(self) -> str | None:
        """The declared language as it is told apart here; None where none was declared or it is not."""
        base = (self.declared or "").split("_")[0].split("-")[0].lower()
        code = _SAME.get(base, base)
        return code if code in _CODES else None

    def notes(self) -> Iterator[str]:
        """Yield that the declared language is none of those that are told apart."""
        if self.declared and self.expected is None:
            text = _("{column}: the language {code} is not known to the check, so texts in others were not looked for.")
            yield text.format(column=self.column, code=self.declared)

    def findings(self) -> Iterator[Finding]:
        """Yield each text in a language that few others are in, or that was not declared; and the mix, if it is one."""
        if self.declared and self.expected is None:
            return
        counts = Counter(code for code, _sure in self.found.values())
        usual = {code for code, count in counts.items() if count >= _USUAL * len(self.found)}
        if self.expected:
            usual = {self.expected}
        elif len(usual) > 1:
            yield self._mix(counts)
        expected = ", ".join(name(code) for code, _count in counts.most_common() if code in usual) or self.declared
        for row, (code, sure) in self.found.items():
            if code not in usual:
                what = _(
                    "{column} seems to be in {told} rather than {expected}.",
                    column=self.column,
                    told=name(code),
                    expected=expected,
                )
                advice = _("Remove it, or translate it.")
                yield Finding("language", (row,), sure, what, advice, removal([row]), self.column)

    def _mix(self, counts: Counter[str]) -> Finding:
        total = counts.total()
        listed = ", ".join(f"{name(code)} {count / total:.0%}" for code, count in counts.most_common(8))
        what = _("{column} is in several languages: {listed}.", column=self.column, listed=listed)
        second = counts.most_common(2)[1][1] / total
        return Finding("language", (), second, what, _("Split stratified by language."), (), self.column)


def name(code: str) -> str:
    """Return the name of a language, or its code."""
    known = {
        "ar": _("Arabic"),
        "de": _("German"),
        "en": _("English"),
        "es": _("Spanish"),
        "fr": _("French"),
        "it": _("Italian"),
        "ja": _("Japanese"),
        "ko": _("Korean"),
        "nl": _("Dutch"),
        "pt": _("Portuguese"),
        "ru": _("Russian"),
        "zh": _("Chinese"),
    }
    return known.get(code, code)
