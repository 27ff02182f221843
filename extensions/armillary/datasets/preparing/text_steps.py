"""Steps for texts: tokens by Hugging Face's ``tokenizers``, whose own JSON is what is learned and stored."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from armillary_kernels.texts import translator

from armillary.datasets.features import Array, Feature, Sequence, Struct, Translation, Value
from armillary.datasets.kinds import is_text
from armillary.datasets.preparing.rows import array_of
from armillary.datasets.preparing.step import Augmentation, Bound, Form, Row, Step, refuse_spans
from armillary.datasets.preparing.table_steps import is_number
from armillary.errors import DatasetError

_ = translator(__file__)

PADDING, UNKNOWN = "[PAD]", "[UNK]"
_TOKENS = Sequence(Value("int32"))
_HAN = "\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff"
#: A Chinese character is a word, for nothing divides Chinese words.
_WORD = re.compile(f"[{_HAN}]|[^\\W{_HAN}]+")


@dataclass(frozen=True)
class Tokenise(Step):
    """Make numbers of texts: the places of their tokens in a vocabulary that the training examples teach.

    ``by`` is ``"words"`` (a Chinese character counts as a word, for nothing divides Chinese words, and so does a
    punctuation mark), ``"characters"``, or ``"subwords"`` (byte-level BPE, which has a token for everything, and in
    Chinese finds the words that come often). Token 0 is ``[PAD]``, 1 is ``[UNK]``. All columns share the vocabulary;
    the languages of a translation pair do, too.

    Parameters
    ----------
    vocabulary
        The most tokens, these two included.
    least
        How often the training examples have a token, at least.
    lower
        Whether capitals count as small letters.
    """

    name = "tokenise"
    choices: ClassVar = {"by": ("words", "characters", "subwords")}
    travels = True
    by: str = "words"
    vocabulary: int = 30_000
    least: int = 1
    lower: bool = False

    def check(self) -> None:
        """Refuse vocabularies without room."""
        self.require_positive("vocabulary", "least")
        smallest = 300 if self.by == "subwords" else 3
        self.require(self.vocabulary >= smallest, "vocabulary", _("Give {n} or more.", n=smallest))

    @property
    def learns(self) -> bool:
        """Whether it has to see the training examples: always."""
        return True

    def fits(self, feature: Feature) -> bool:
        """Return whether a column holds a text, or one text in several languages."""
        return is_text(feature) or (isinstance(feature, Translation) and not feature.variable)

    def form_after(self, at: Bound) -> Form:
        """Return the columns with lists of tokens."""
        before = at.before.features
        return at.before.with_features({column: _tokens_of(before[column]) for column in at.columns})

    def start(self, at: Bound) -> Any:
        """Return an empty count of words."""
        return Counter()

    def see(self, known: Any, row: Row, at: Bound) -> None:
        """Count the words, or characters, of one example."""
        divide = _divider(self.by, self.lower)
        for column in at.columns:
            value = row.values[column]
            for text in value.values() if isinstance(value, dict) else (value,):
                if text:
                    known.update(divide(text))

    def merge(self, known: Any, more: Any) -> Any:
        """Add up."""
        known.update(more)
        return known

    def conclude(self, known: Any, at: Bound) -> Any:
        """Return the tokenizer, as its library stores it."""
        made = _subwords(self, known) if self.by == "subwords" else _whole(self, known)
        return {"tokenizer": made.to_str()}

    def apply(self, row: Row, at: Bound) -> bool:
        """Make tokens of one example's texts."""
        tokenizer = tokenizer_of(at.learned["tokenizer"])
        for column in at.columns:
            value = row.values[column]
            if isinstance(value, dict):
                row.values[column] = {language: tokens(tokenizer, text) for language, text in value.items()}
            else:
                row.values[column] = tokens(tokenizer, value)
        return True


def tokens(tokenizer: Any, text: str | None) -> list[int] | None:
    """Return the tokens of a text."""
    return None if text is None else tokenizer.encode(text, add_special_tokens=False).ids


@lru_cache(maxsize=8)
def tokenizer_of(description: str) -> Any:
    """Return the ``tokenizers.Tokenizer`` that a step has learned."""
    return _library().Tokenizer.from_str(description)


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        what = _("Texts cannot be tokenised: {error}.", error=error)
        raise DatasetError(what, _("Install armillary[data].")) from error
    return tokenizers


def _tokens_of(feature: Feature) -> Feature:
    if isinstance(feature, Translation):
        return Struct(tuple((language, _TOKENS) for language in sorted(feature.languages)))
    return _TOKENS


def _normalizer(lower: bool) -> Any:
    normalizers = _library().normalizers
    return normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] if lower else [])])


def _pre_tokenizer(by: str) -> Any:
    library = _library()
    division = library.pre_tokenizers
    if by == "subwords":
        return division.ByteLevel(add_prefix_space=False)
    if by == "characters":
        return division.Split(library.Regex(r"[\s\S]"), "isolated")
    return division.Sequence([division.Split(library.Regex(r"\p{Han}"), "isolated"), division.Whitespace()])


@lru_cache(maxsize=6)
def _divider(by: str, lower: bool) -> Any:
    """Return the function that divides a text into what is counted."""
    normalizer, pre_tokenizer = _normalizer(lower), _pre_tokenizer(by)

    def divide(text: str) -> list[str]:
        normal = normalizer.normalize_str(text)
        return [normal[first:last] for _piece, (first, last) in pre_tokenizer.pre_tokenize_str(normal)]

    return divide


def _whole(step: Tokenise, counts: Counter[str]) -> Any:
    """Return a tokenizer that knows the most frequent words, equally frequent ones in their own order."""
    library = _library()
    ordered = sorted((word for word, n in counts.items() if n >= step.least), key=lambda word: (-counts[word], word))
    vocabulary = {word: place for place, word in enumerate([PADDING, UNKNOWN, *ordered][: step.vocabulary])}
    tokenizer = library.Tokenizer(library.models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = _normalizer(step.lower), _pre_tokenizer(step.by)
    return tokenizer


def _subwords(step: Tokenise, counts: Counter[str]) -> Any:
    """Return a tokenizer that has learned byte-level BPE (Sennrich et al., 2016) from words and their counts."""
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.normalizer, tokenizer.pre_tokenizer = _normalizer(step.lower), _pre_tokenizer(step.by)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=step.vocabulary,
        min_frequency=step.least,
        special_tokens=[PADDING, UNKNOWN],
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_repeated(counts), trainer)
    return tokenizer


def _repeated(counts: Counter[str]) -> Iterator[list[str]]:
    """Yield each word as often as it came, in parts, in one order: equal counts give the same tokens."""
    for word in sorted(counts):
        for first in range(0, counts[word], _PART):
            yield list(itertools.repeat(word, min(_PART, counts[word] - first)))


_PART = 10_000


@dataclass(frozen=True)
class Pad(Step):
    """Bring lists of numbers and spectrograms to one length: what is missing becomes ``value``, the rest is cut off.

    ``side`` is where: ``"right"`` or ``"left"``.
    """

    name = "pad"
    choices: ClassVar = {"side": ("right", "left")}
    travels = True
    length: int = 128
    value: float = 0
    side: str = "right"

    def check(self) -> None:
        """Refuse lengths below 1."""
        self.require_positive("length")

    def fits(self, feature: Feature) -> bool:
        """Return whether a column holds a list of numbers, one for each of several languages, or an array."""
        if isinstance(feature, Struct):
            return bool(feature.parts) and all(self.fits(part) for _name, part in feature.parts)
        if isinstance(feature, Array):
            return True
        return isinstance(feature, Sequence) and is_number(feature.feature)

    def form_after(self, at: Bound) -> Form:
        """Return the columns with lists of one length."""
        before = at.before.features
        return at.before.with_features({column: self._padded_form(before[column]) for column in at.columns})

    def _padded_form(self, feature: Any) -> Feature:
        if isinstance(feature, Struct):
            return Struct(tuple((name, self._padded_form(part)) for name, part in feature.parts))
        if isinstance(feature, Array):
            return Array((self.length, *feature.shape[1:]), feature.dtype)
        return Sequence(feature.feature, self.length)

    def apply(self, row: Row, at: Bound) -> bool:
        """Pad one row."""
        for column in at.columns:
            row.values[column] = self._padded(at.before.features[column], row.values[column])
        return True

    def _padded(self, feature: Any, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(feature, Struct):
            return {name: self._padded(part, value[name]) for name, part in feature.parts}
        if isinstance(feature, Array):
            return self._padded_array(array_of(feature, value))
        kind = float if feature.feature.dtype.startswith("float") else int
        filling = [kind(self.value)] * (self.length - len(value))
        if self.side == "left":
            return [*filling, *value[-self.length :]]
        return [*value[: self.length], *filling]

    def _padded_array(self, value: Any) -> Any:
        missing = max(0, self.length - len(value))
        kept = value[: self.length] if self.side == "right" else value[-self.length :]
        around = (0, missing) if self.side == "right" else (missing, 0)
        return np.pad(kept, [around, *[(0, 0)] * (value.ndim - 1)], constant_values=self.value)


@dataclass(frozen=True)
class BackOffWords(Augmentation):
    """Put words that are drawn as often as the training texts have them in the place of some (Xie et al., 2017).

    A model that saw only the words that it was given learns to back off from them to the rest. A Chinese character
    counts as a word. ``vocabulary`` is the number of different words that are drawn from, the most frequent.
    """

    name = "back_off_words"
    probability: float = 0.1
    vocabulary: int = 10_000

    def check(self) -> None:
        """Refuse probabilities above 1."""
        self.require_share("probability")
        self.require_positive("vocabulary")

    @property
    def learns(self) -> bool:
        """Whether it has to see the training examples: always."""
        return True

    def fits(self, feature: Feature) -> bool:
        """Return whether a column holds a text."""
        return is_text(feature)

    def form_after(self, at: Bound) -> Form:
        """Return the columns as they are; marked parts of a text cannot follow its words."""
        refuse_spans(self.name, at.before)
        return at.before

    def start(self, at: Bound) -> Any:
        """Return an empty count."""
        return Counter()

    def see(self, known: Any, row: Row, at: Bound) -> None:
        """Count words."""
        for column in at.columns:
            known.update(_WORD.findall(row.values[column] or ""))

    def merge(self, known: Any, more: Any) -> Any:
        """Add up."""
        known.update(more)
        return known

    def conclude(self, known: Any, at: Bound) -> Any:
        """Return the most frequent words and how often they come."""
        words = sorted(known, key=lambda word: (-known[word], word))[: self.vocabulary]
        return {"words": words, "counts": [known[word] for word in words]}

    def apply(self, row: Row, at: Bound) -> bool:
        """Exchange words of one row."""
        words, ends = at.learned["words"], np.cumsum(at.learned["counts"])
        if not words:
            return True
        random = at.random(row)

        def exchanged(match: re.Match[str]) -> str:
            chance, place = random.random(2)
            if chance >= self.probability:
                return match[0]
            return str(words[int(np.searchsorted(ends, place * ends[-1], side="right"))])

        for column in at.columns:
            if row.values[column] is not None:
                row.values[column] = _WORD.sub(exchanged, row.values[column])
        return True
