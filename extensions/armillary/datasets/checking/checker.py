"""The check of a dataset: once through all row groups, then what has to be compared."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets import shards
from armillary.datasets.checking import blocks, label_errors
from armillary.datasets.checking.classes import imbalance, target_leaks
from armillary.datasets.checking.columns import Leaf, is_media, is_text, leaves
from armillary.datasets.checking.duplicates import Marks, compared, duplicates, together
from armillary.datasets.checking.findings import KINDS, Finding
from armillary.datasets.checking.media_parts import MediaPart
from armillary.datasets.checking.outliers import FEWEST, outliers
from armillary.datasets.checking.parts import MOST_FINDINGS, Part, Scope
from armillary.datasets.checking.progress import Progress, progress_of
from armillary.datasets.checking.report import CheckReport, checked_kinds
from armillary.datasets.checking.texts import TextPart
from armillary.datasets.checking.values import NumbersPart, ValuePart
from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.features import Boxes, ClassLabel, TokenLabels, Value
from armillary.datasets.kinds import kinds_of
from armillary.datasets.splits import check_seed
from armillary.errors import DatasetError

_ = translator(__file__)

LIMIT = 20_000
#: A column of strings is one of texts from so many characters on (half of them have more), and then makes examples the
#: same by itself; shorter ones are names and categories.
_TEXT_LENGTH, _CONTENT_LENGTH = 20, 40


def check(
    dataset: Dataset | str,
    *,
    kinds: Iterable[str] | None = None,
    features: NDArray[Any] | None = None,
    probabilities: NDArray[Any] | None = None,
    limit: int = LIMIT,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Look for what is wrong with a dataset, and suggest what to do about it. Nothing is changed.

    Every example is decoded once, row group by row group, unless only missing values, equal examples and the balance of
    the classes are asked for. Copies are found among all of them by hashes, in time that
    grows with their number; outliers, likely label errors, telling columns and languages are looked for among at most
    ``limit`` examples. Label errors come from cleanlab, the brightness and blur of pictures from cleanvision, languages
    from py3langid. An interrupt ends it and leaves nothing.

    Parameters
    ----------
    dataset
        A version, such as ``"digits@1"``, or ``"digits"`` for the newest.
    kinds
        What to look for, of `KINDS`; default: everything.
    features
        Features of one's own ``(n, d)``, such as embeddings by a network, for label errors and outliers; in place of
        small ones that are made here.
    probabilities
        Probabilities ``(n, classes)`` by a model of one's own that did not see the examples, for label errors.
    limit
        The number of examples that are compared with each other.
    seed
        The same seed and dataset give the same report.
    progress
        Is told how much of how much is done; default: a bar after a second. What it raises ends the check.

    Raises
    ------
    DatasetError
        When there is no such dataset or kind, the features or probabilities do not fit it, or a library is missing.

    Examples
    --------
    >>> report = datasets.check("digits@1")
    >>> report.findings("duplicate")[0].suggestions
    (Suggestion(row=812, action='remove', value=None),)
    """
    opened = open_dataset(dataset)
    wanted = checked_kinds(kinds)
    _refuse_unfit(opened, features, probabilities, limit)
    check_seed(seed)
    sample = _sample(len(opened), limit, seed)
    with ThreadPoolExecutor(os.cpu_count()) as pool, progress_of(2 * len(opened), progress) as done:
        try:
            scope = Scope(opened, sample, seed, pool, frozenset(wanted))
            return _Check(scope, wanted, features, probabilities, done).report()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Check:
    """One check: its parts and what they found so far."""

    def __init__(
        self,
        scope: Scope,
        kinds: Sequence[str],
        features: NDArray[Any] | None,
        probabilities: NDArray[Any] | None,
        progress: Progress,
    ) -> None:
        self.scope = scope
        self.dataset = scope.dataset
        self.kinds = kinds
        self._features = features
        self._probabilities = probabilities
        self._progress = progress
        self._labels: NDArray[np.int64] | None = None
        self._notes: list[str] = []
        self._found: list[Finding] = []
        self._totals: Counter[str] = Counter()
        self._not_looked_for: set[str] = set()

    def report(self) -> CheckReport:
        """Do it all."""
        self._progress.doing(_("looking at the examples"))
        parts = self._scanned()
        for part in parts:
            self._take(part.findings())
            self._notes.extend(part.notes())
        steps = {
            (_("looking for copies"), ("leak", "duplicate", "near_duplicate")): self._duplicates,
            (_("looking for outliers"), ("outlier",)): self._outliers,
            (_("looking for wrong classes"), ("label_error",)): self._label_errors,
            (_("looking at the classes"), ("imbalance", "target_leak")): self._classes,
        }
        for (what, kinds), step in steps.items():
            self._progress.doing(what)
            if set(kinds) & set(self.kinds):
                with _one_thread():
                    self._take(step(parts))
            self._progress.advance(-(-len(self.dataset) // len(steps)))
        self._say_what_was_sampled()
        found = sorted(self._found, key=lambda each: (KINDS.index(each.kind), -each.score))
        there_can_be = self._possible(parts) - self._not_looked_for
        totals = {kind: self._totals[kind] for kind in self.kinds if kind in there_can_be}
        return CheckReport(self.dataset, tuple(totals), tuple(found), tuple(self._notes), totals)

    def _possible(self, parts: list[Part]) -> set[str]:
        """Return the kinds that there can be in data of this form."""
        classes = {"label_error", "target_leak", "imbalance"} if self.dataset.target is not None else set()
        splits = {"leak"} if len(self.dataset.splits) > 1 else set()
        return classes | splits | {kind for part in parts for kind in part.kinds}

    def _cannot_tell(self, why: str) -> tuple[()]:
        """Say why no wrong classes were looked for."""
        self._notes.append(_("Wrong classes were not looked for: {why}", why=why))
        self._not_looked_for.add("label_error")
        return ()

    def _take(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if finding.kind in self.kinds:
                self._totals[finding.kind] += 1
                if self._totals[finding.kind] <= MOST_FINDINGS:
                    self._found.append(finding)

    def _scanned(self) -> list[Part]:
        """Return the parts after they saw all row groups."""
        parts: list[Part] = []
        first, labels = 0, []
        for table in shards.row_groups(self.dataset.folder, self.dataset.manifest.shards):
            if not parts:
                parts = _parts(self.scope, table)
            for part in parts:
                values = part.leaf.values(table)
                part.missing[first : first + len(values)] = part.leaf.missing(values)
                part.see(first, values)
            if self.dataset.target is not None:
                labels.append(table.column(self.dataset.target).to_numpy())
            first += len(table)
            self._progress.advance(len(table))
        if labels:
            self._labels = np.nan_to_num(np.concatenate(labels).astype(np.float64), nan=-1).astype(np.int64)
        return parts

    def _marks(self) -> Marks:
        return Marks(self.dataset.split_of_rows(), self._labels, self.dataset.class_names)

    def _duplicates(self, parts: list[Part]) -> Iterator[Finding]:
        yield from duplicates(parts, self._marks())

    def _outliers(self, parts: list[Part]) -> Iterator[Finding]:
        rows, seed = self.scope.sample, self.scope.seed
        if len(rows) < FEWEST:
            return
        if self._features is not None:
            yield from outliers(np.asarray(self._features, np.float32)[rows], rows, "", seed)
            return
        known = {row for finding in self._found if finding.kind == "outlier" for row in finding.rows}
        for name, block in blocks.dense_blocks(parts, seed).items():
            for finding in outliers(block, rows, name, seed):
                if name or finding.rows[0] not in known:  # one of its values says it better than all together
                    yield finding

    def _classes(self, parts: list[Part]) -> Iterator[Finding]:
        if self._labels is not None:
            yield from imbalance(self.dataset.class_names, self.dataset.manifest.class_counts)
            sampled = self._labels[self.scope.sample]
            yield from target_leaks(parts, sampled, self.dataset.class_names, self.scope.seed)

    def _label_errors(self, parts: list[Part]) -> Iterable[Finding]:
        if self._labels is None:
            return self._cannot_tell(_("the dataset has no column with the class."))
        rows, labels = self.scope.sample, self._labels[self.scope.sample]
        copies = np.arange(len(rows)) if self._probabilities is not None else _copies(parts, rows)
        names, usable = _learnable(labels, copies, len(self.dataset.class_names))
        if len(names) < 2:
            return self._cannot_tell(_("fewer than two have {n} different examples.", n=label_errors.FEWEST))
        rows, codes = rows[usable], np.searchsorted(names, labels[usable])
        class_names = [self.dataset.class_names[name] for name in names]
        if self._probabilities is not None:
            told = np.asarray(self._probabilities, np.float64)[rows][:, names]
            told /= np.maximum(told.sum(axis=1, keepdims=True), 1e-12)
            return label_errors.label_errors(rows, codes, told, class_names)
        learnt = self._learnt(parts, usable)
        if learnt is None:
            return self._cannot_tell(_("no column has features to learn from."))
        told = label_errors.probabilities(learnt, codes, copies[usable], self.scope.seed)
        right, kappa = label_errors.agreement(codes, told)
        if kappa < label_errors.LEAST_KAPPA:
            weak = _("a small model says only {right:.0%} of them rightly. Give features= or probabilities=.")
            return self._cannot_tell(weak.format(right=right))
        text = _("Wrong classes: by a small model that says {right:.1%} of them rightly; the fewer, the more it errs.")
        self._notes.append(text.format(right=right))
        return label_errors.label_errors(rows, codes, told, class_names)

    def _learnt(self, parts: list[Part], usable: NDArray[np.bool_]) -> Any:
        """Return what to learn from of the sample's usable rows, None where there is nothing."""
        if self._features is not None:
            own = np.asarray(self._features, np.float32)[self.scope.sample]
            return blocks.similarities(own[usable], self.scope.seed)
        made = blocks.model_features(parts, self.scope.seed)
        return made[usable] if made.shape[1] else None

    def _say_what_was_sampled(self) -> None:
        sampled, rows = len(self.scope.sample), len(self.dataset)
        if sampled < rows:
            self._notes.append(
                _(
                    "Outliers, wrong classes, telling columns and languages were looked for among {sampled} of {n} "
                    "examples; limit= looks at more.",
                    sampled=f"{sampled:,}",
                    n=f"{rows:,}",
                )
            )
        if any(isinstance(feature, (Boxes, TokenLabels)) for feature in self.dataset.features.values()):
            self._notes.append(_("Boxes and labels of words are not checked for wrong classes."))


def _one_thread() -> Any:
    """Let linear algebra use one thread: several would wait for each other most of the time where others work, too."""
    import scipy.linalg  # noqa: F401 (what is not loaded yet cannot be limited)
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def _refuse_unfit(dataset: Dataset, features: Any, probabilities: Any, limit: int) -> None:
    rows, classes = len(dataset), len(dataset.class_names)
    if features is not None and (np.ndim(features) != 2 or len(features) != rows):
        raise DatasetError(
            _("The features have the shape {shape}.", shape=np.shape(features)), _("Give ({n}, d).", n=rows)
        )
    if features is not None and not _are_numbers(features, np.float32):
        raise DatasetError(
            _("Some of the features are no finite numbers."), _("Leave those columns out, or fill them.")
        )
    if probabilities is not None and np.shape(probabilities) != (rows, classes):
        what = _("The probabilities have the shape {shape}.", shape=np.shape(probabilities))
        raise DatasetError(what, _("Give ({n}, {classes}).", n=rows, classes=classes))
    if probabilities is not None and not (_are_numbers(probabilities, np.float64) and np.min(probabilities) >= 0):
        raise DatasetError(
            _("Some of the probabilities are negative, or no finite numbers."), _("Give those of a softmax.")
        )
    if limit < 1:
        raise DatasetError(_("The limit is {limit}.", limit=limit), _("Give 1 or more."))


def _are_numbers(values: Any, kind: type[np.floating[Any]]) -> bool:
    try:
        with np.errstate(over="ignore"):
            return bool(np.isfinite(np.asarray(values, kind)).all())
    except (TypeError, ValueError):
        return False


def _sample(rows: int, limit: int, seed: int) -> NDArray[np.int64]:
    if rows <= limit:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))


def _copies(parts: Sequence[Part], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return what is equal for those of the rows that are the same."""
    chosen = compared(parts)
    return together(chosen)[rows] if chosen else rows


def _learnable(
    labels: NDArray[np.int64], copies: NDArray[Any], classes: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the classes with enough different examples to learn from, and which rows have one of these.

    Copies stay on one side: of a class with copies alone, a model would have seen nothing.
    """
    known = np.flatnonzero(labels >= 0)
    _same, first = np.unique(
        np.stack([labels[known], np.unique(copies[known], return_inverse=True)[1]]), axis=1, return_index=True
    )
    counts = np.bincount(labels[known[first]], minlength=classes)
    names = np.flatnonzero(counts >= label_errors.FEWEST)
    return names, np.isin(labels, names)


def _parts(scope: Scope, table: pa.Table) -> list[Part]:
    """Return what sees each leaf, chosen by its feature and, of strings, by how long those of a row group are."""
    features, target = scope.dataset.features, scope.dataset.target
    has_values = kinds_of(features, target) == ("table",)
    inputs = {name: feature for name, feature in features.items() if name != target}
    return [_part(leaf, scope, table, has_values) for leaf in leaves(inputs)]


def _part(leaf: Leaf, scope: Scope, table: pa.Table, has_values: bool) -> Part:
    if is_media(leaf.feature):
        return MediaPart(leaf, scope)
    if is_text(leaf.feature):
        lengths = [len(str(value)) for value in leaf.values(table).to_pylist() if value is not None]
        length = float(np.median(lengths)) if lengths else 0.0
        if not has_values or length >= _TEXT_LENGTH or not isinstance(leaf.feature, Value):
            part = TextPart(leaf, scope)
            part.is_content = not has_values or length >= _CONTENT_LENGTH
            return part
    return ValuePart(leaf, scope) if isinstance(leaf.feature, (Value, ClassLabel)) else NumbersPart(leaf, scope)
