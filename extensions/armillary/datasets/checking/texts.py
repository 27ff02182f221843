"""Texts as a check sees them: their pieces, their words, their languages, and whether they were decoded rightly."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.checking.columns import Leaf
from armillary.datasets.checking.findings import Finding, removal
from armillary.datasets.checking.languages import Languages
from armillary.datasets.checking.near import (
    PERMUTATIONS,
    min_hash,
    near_by_signature,
    plain_text,
    same_signatures,
)
from armillary.datasets.checking.parts import MOST_FINDINGS, NO_PAIRS, Part, Scope, hash_of

_ = translator(__file__)

#: So much of a text is compared, and so much is learnt from.
_COMPARED, _LEARNT = 20_000, 4_000
_WORDS = 30_000
#: So many characters are counted of the whole sample, in words or each by itself with its neighbours; the latter take
#: about 400 bytes and 10 µs each. Of every text at least the beginning is.
_IN_WORDS, _BY_CHARACTER, _BEGINNING = 20_000_000, 2_000_000, 100
#: UTF-8 that was read as Latin-1 or Windows-1252 (é as Ã©, ’ as â€™), and what could not be read at all.
_MISREAD = re.compile("\ufffd|[ÂÃ][\u0080-\u00bf]|â€|\x00")
_TELLS = 0.98
_WORDS_AND_PAIRS = {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"}
_SPACELESS = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")


class TextPart(Part):
    """Texts, or lists of words, which are read as one text each."""

    is_content = True
    kinds = Part.kinds | {"broken", "near_duplicate", "language"}

    def __init__(self, leaf: Leaf, scope: Scope) -> None:
        super().__init__(leaf, scope)
        self._signatures = np.full((scope.rows, PERMUTATIONS), 2**32 - 1, np.uint32)
        self._texts: list[str] = [""] * len(scope.sample)
        self._misread: list[tuple[int, str]] = []
        self._languages = Languages(leaf.name, leaf.language)
        self._words: tuple[Any, list[str]] | None = None

    def see(self, first: int, values: pa.Array) -> None:
        """Look at the texts of a row group."""
        sampled = set(self.scope.sample[self.scope.places(first, len(values))].tolist())
        for row, value in enumerate(values.to_pylist(), first):
            if self.missing[row]:
                continue
            text = " ".join(_strings(value))
            self.fingerprints[row] = hash_of(text.encode("utf-8", "surrogatepass"))
            if self.scope.compares_closely:
                self._signatures[row] = min_hash(plain_text(text[:_COMPARED]))
            misread = _MISREAD.search(text)
            if misread:
                self._misread.append((row, text[max(0, misread.start() - 10) : misread.end() + 10]))
            if row in sampled:
                self._texts[int(np.searchsorted(self.scope.sample, row))] = text[:_LEARNT]
                if "language" in self.scope.wanted:
                    self._languages.see(row, text)

    def findings(self) -> Iterator[Finding]:
        """Yield what is missing, what was decoded wrongly, and which languages do not belong."""
        yield from self.missing_findings()
        for row, excerpt in self._misread[:MOST_FINDINGS]:
            what = _("{column} was read in a wrong encoding: “{excerpt}”.", column=self.name, excerpt=excerpt)
            advice = _("Import it anew with its encoding, or remove it.")
            yield Finding("broken", (row,), 0.8, what, advice, removal([row]), self.name)
        yield from sorted(self._languages.findings(), key=lambda finding: -finding.score)[:MOST_FINDINGS]

    def notes(self) -> Iterator[str]:
        """Yield what could not be told of the languages."""
        if "language" in self.scope.wanted:
            yield from self._languages.notes()

    def near_pairs(self) -> NDArray[np.int64]:
        """Return pairs whose texts have most of their pieces in common."""
        _values, first = np.unique(self.fingerprints, return_index=True)
        rows = np.sort(first[~self.missing[first]])
        if len(rows) < 2 or not self.scope.compares_closely:
            return NO_PAIRS
        pairs = near_by_signature(self._signatures[rows], rows)
        return pairs[self.alike(pairs)]

    def alike(self, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell of each pair whether the texts are the same or nearly so."""
        there = ~self.missing[pairs].any(axis=1)
        near = same_signatures(self._signatures[pairs[:, 0]], self._signatures[pairs[:, 1]])
        return super().alike(pairs) | (there & near)

    def block(self) -> Any:
        """Return the TF-IDF of the sample's words, or of characters in languages without spaces; sparse."""
        from sklearn.feature_extraction.text import TfidfTransformer

        counts, names = self._counted()
        if not names:
            return super().block()
        return TfidfTransformer(sublinear_tf=True).fit_transform(counts).astype(np.float32)

    def _counted(self) -> tuple[Any, list[str]]:
        """Return how often each word stands in each of the sample's texts, and the words."""
        from scipy.sparse import csr_matrix
        from sklearn.feature_extraction.text import CountVectorizer

        if self._words is None:
            start = " ".join(text[:50] for text in self._texts[:1000])
            by_character = len(_SPACELESS.findall(start)) > 0.3 * max(1, len(start) - start.count(" "))
            settings = {"analyzer": "char", "ngram_range": (1, 3)} if by_character else _WORDS_AND_PAIRS
            most = max(_BEGINNING, (_BY_CHARACTER if by_character else _IN_WORDS) // max(1, len(self._texts)))
            counter = CountVectorizer(min_df=2, max_features=_WORDS, **settings)
            try:
                self._words = (
                    counter.fit_transform([text[:most] for text in self._texts]),
                    list(counter.get_feature_names_out()),
                )
            except ValueError:  # no word stands in two texts
                self._words = csr_matrix((len(self._texts), 0), dtype=np.int64), []
        return self._words

    def telling_words(self, labels: NDArray[np.int64]) -> Iterator[tuple[str, int, float]]:
        """Yield each word that stands in nearly all texts of one class and in nearly no other, with the class.

        ``labels`` are the classes of the sample's rows. The number is the balanced accuracy of telling by the word.
        """
        counts, names = self._counted()
        has_word = counts.astype(bool).astype(np.float64)
        for label in np.unique(labels):
            inside = labels == label
            if names and 10 <= inside.sum() < len(labels) - 10:
                recall = np.asarray(has_word[inside].mean(axis=0)).ravel()
                elsewhere = np.asarray(has_word[~inside].mean(axis=0)).ravel()
                told = (recall + 1 - elsewhere) / 2
                for index in np.flatnonzero(told >= _TELLS)[:5]:
                    yield names[int(index)], int(label), float(told[index])

    def measures(self) -> dict[str, NDArray[np.float64]]:
        """Return the lengths of the sample's texts."""
        name = f"{self.name} ({_('length')})"
        return {name: np.array([len(text) for text in self._texts], np.float64)}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif value is not None:
        for part in value:
            yield from _strings(part)
