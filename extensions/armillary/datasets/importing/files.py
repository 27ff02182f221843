"""Import of images, sounds, videos and texts that are files of their own, with what is known of each."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Unpack

from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset
from armillary.datasets.features import Audio, ClassLabel, Feature, Image, Value, Video
from armillary.datasets.importing.downloads import local_copy
from armillary.datasets.importing.examples import Row, SaveOptions, download_options, save_rows
from armillary.datasets.importing.lines import lines_of
from armillary.datasets.importing.rejects import BadExampleError, first_of
from armillary.datasets.importing.sources import BadFileError, FileSource, open_source
from armillary.datasets.importing.split_folders import FOLDERS, splits_of
from armillary.datasets.media import SUFFIXES
from armillary.errors import DatasetError

_ = translator(__file__)

FOLDER_LABEL = "folder"
_FEATURES: dict[str, Feature] = {"image": Image(), "audio": Audio(), "video": Video(), "text": Value("string")}
_SUFFIXES = {kind.__name__.lower(): suffixes for kind, suffixes in SUFFIXES.items()} | {
    "text": frozenset({".txt", ".md"})
}
#: Hugging Face's names of the file that says more of each file of a folder.
METADATA = ("metadata.csv", "metadata.jsonl")
_FILE_NAME = "file_name"
_Metadata = Mapping[str, Mapping[str, str | None]]


def import_files(
    path: str | Path,
    name: str,
    parts: Mapping[str, str],
    *,
    label: str | re.Pattern[str] | None = None,
    select: str | re.Pattern[str] = "",
    text_from: Callable[[str], str] | None = None,
    encoding: str = "utf-8-sig",
    **options: Unpack[SaveOptions],
) -> Dataset:
    """Save files of a folder, zip or tar as a dataset, one example for each file or group of files.

    Parameters
    ----------
    path
        A folder or archive; an archive is read in place. Or its URL: ``https://…/birds.zip``, ``s3://bucket/birds``.
    name
        The dataset's name. When it is taken by a dataset of the same form, this becomes its next version.
    parts
        What an example consists of: for each column the end of its file's name, after a stem that the files of one
        example share. The kind is told by the name: ``{"image": ".png", "text": ".txt", "audio": "_desc_fr.ogg"}``
        makes one example of ``crow.png``, ``crow.txt`` and ``crow_desc_fr.ogg``. ``"image"``, ``"audio"``, ``"video"``
        and ``"text"`` stand for every ending of that kind. A group that lacks a file is rejected, if it has the first.
    label
        Where the class comes from: ``"folder"``, the folder that a file lies in; a pattern that is searched in the
        path and has a group named ``label``, such as ``r"(?P<label>[a-z]+)_[^/]*$"``; or the name of a column of
        the folder's ``metadata.csv`` or ``metadata.jsonl``. None: there is no class.
    select
        Only files whose path this pattern is found in.
    text_from
        Makes of a text file's whole text the text that is kept; the default strips white space at both ends.
    encoding
        Of text files.
    options
        See `SaveOptions`.

    Notes
    -----
    A ``metadata.csv`` or ``metadata.jsonl`` at the top (or in the one folder that all files lie in), with a column
    ``file_name`` (the path of the first part from there), adds its other columns as text to each example, as in Hugging
    Face's folders.

    Files that all lie in folders named ``train``, ``validation`` (or ``val``) and ``test`` keep that division, unless
    ``split`` is given.

    Raises
    ------
    DatasetError
        When the archive is unsafe, there are no such files, one cannot be used, or nothing can be written.
    """
    _check_parts(parts, label)
    with local_copy(path, **download_options(options)) as local, open_source(local.path) as source:
        options.setdefault("source", local.source)
        pattern = _compiled(select)
        finder = FileGroups(source, dict(parts), pattern, encoding, text_from or str.strip)
        groups = finder.groups()
        if not groups:
            raise _nothing_found(local.path.name, source, parts, pattern)
        metadata = finder.metadata()
        columns = sorted({key for values in metadata.values() for key in values})
        _check_columns(columns, parts, label)
        labels = [class_of(label, group.first, metadata, columns) for group in groups]
        features = _features(parts, columns, label, labels)
        splits = {} if "split" in options else finder.splits(groups, 1 if label == FOLDER_LABEL else 0)
        rows = [
            replace(finder.row(group, metadata, labels[index], label), split=splits.get(group.first))
            for index, group in enumerate(groups)
        ]
        return save_rows(
            rows, features, name, "label" if label is not None else None,
            {"step": "import_files", "parts": dict(parts), **(FOLDERS if splits else {})}, total=len(rows),
            ignored=[*source.ignored(), *finder.not_there(metadata)], **options,
        )  # fmt: skip


def _nothing_found(place: str, source: FileSource, parts: Mapping[str, str], pattern: re.Pattern[str]) -> DatasetError:
    if FileGroups(source, dict(parts)).groups():
        what = _("The pattern {pattern!r} is found in no path of {place}.", pattern=pattern.pattern, place=place)
        return DatasetError(what, _("Change select."))
    ends = [end for part in parts.values() for end in sorted(_SUFFIXES.get(part, (part,)))]
    return DatasetError(
        _("{place} has no files that end in {ends}.", place=place, ends=", ".join(ends)),
        _("Check the path and the parts."),
    )


@dataclass(frozen=True)
class FileGroup:
    """The files of one example: by column those of its stem, of which there should be one each."""

    first: str
    files: dict[str, list[str]]


def _check_parts(parts: Mapping[str, str], label: Any) -> None:
    if not isinstance(parts, Mapping) or not parts:
        raise DatasetError(
            _("The parts are {parts!r}.", parts=parts), _("Give for instance {example}.", example='{"image": ".png"}')
        )
    for column, end in parts.items():
        if _kind(end) is None:
            raise DatasetError(
                _("The part {column!r} ends in {end!r}, which tells no kind of file.", column=column, end=end),
                _("Give an ending such as .png, .flac, .mp4 or .txt."),
            )
    if label is not None and "label" in parts:
        raise DatasetError(
            _("A part is called {column!r}, and so is the column of the class.", column="label"),
            _("Rename the part, or give no label."),
        )


def _check_columns(columns: Sequence[str], parts: Mapping[str, str], label: Any) -> None:
    """Refuse columns of the metadata file that would take the place of a part or of the class."""
    taken = [*parts, *(["label"] if label not in (None, "label") else [])]
    twice = next((column for column in columns if column in taken), None)
    if twice is not None:
        raise DatasetError(
            _("The metadata file has a column {column!r}, and so has the import.", column=twice),
            _("Rename the column, or the part; a class that stands in a column is named as the label."),
        )


def kind_of_file(path: str) -> str | None:
    """Return ``"image"``, ``"audio"``, ``"video"`` or ``"text"`` by a file's name, None for another."""
    suffix = PurePosixPath(path).suffix.lower()
    return next((kind for kind, ends in _SUFFIXES.items() if suffix in ends), None)


def _kind(end: str) -> str | None:
    return end if end in _SUFFIXES else kind_of_file(f"x{end}")


def _stem(path: str, end: str) -> str | None:
    """Return what stands before an end, None for another file."""
    if end not in _SUFFIXES:
        return path.removesuffix(end) if path.endswith(end) else None
    suffix = PurePosixPath(path).suffix
    return path.removesuffix(suffix) if suffix.lower() in _SUFFIXES[end] else None


def _compiled(pattern: str | re.Pattern[str]) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise DatasetError(
            _("{pattern!r} is no pattern: {error}.", pattern=pattern, error=error), _("Write a regular expression.")
        ) from error


def _features(
    parts: Mapping[str, str], columns: Sequence[str], label: Any, labels: Sequence[str | None]
) -> dict[str, Feature]:
    features = {column: _FEATURES[str(_kind(end))] for column, end in parts.items()}
    features |= {column: Value("string") for column in columns if column != label}
    if label is not None:
        names = tuple(sorted({name for name in labels if name is not None}))
        if len(names) < 2:
            raise DatasetError(
                _("The labels name {n} class; a classifier needs two.", n=len(names)),
                _("Check the label, or give none."),
            )
        features["label"] = ClassLabel(names)
    return features


def class_of(label: str | re.Pattern[str] | None, path: str, metadata: _Metadata, columns: Sequence[str]) -> str | None:
    """Return the class of a file, as `import_files` is told where it comes from; None where it has none."""
    if label is None:
        return None
    if label == FOLDER_LABEL:
        parent = PurePosixPath(path).parent.name
        return parent or None
    if label in columns:
        return metadata.get(path, {}).get(str(label)) or None
    pattern = _compiled(label)
    if "label" not in pattern.groupindex:
        raise DatasetError(
            _(
                "The label {label!r} is neither \"folder\", nor a column, nor a pattern with a group 'label'.",
                label=label,
            ),
            _("Write it for instance as {example}.", example=r"(?P<label>[a-z]+)_[^/]*$"),
        )
    found = pattern.search(path)
    return (found["label"] or None) if found else None


def metadata_file(paths: Sequence[str]) -> str | None:
    """Return the file that says more of each file: in the one folder that all of them lie in, or at the top."""
    tops = {path.partition("/")[0] if "/" in path else "" for path in paths}
    top = f"{next(iter(tops))}/" if len(tops) == 1 and "" not in tops else ""
    return next((place for folder in (top, "") for name in METADATA if (place := folder + name) in paths), None)


class FileGroups:
    """Finds the files of each example and reads them."""

    def __init__(
        self,
        source: FileSource,
        parts: dict[str, str],
        select: re.Pattern[str] = re.compile(""),
        encoding: str = "utf-8-sig",
        text_from: Callable[[str], str] = str.strip,
    ) -> None:
        self._source, self._parts, self._select = source, parts, select
        self._encoding, self._text_from = encoding, text_from
        self._paths = source.paths()
        self._known = frozenset(self._paths)

    def groups(self) -> list[FileGroup]:
        """Return the files of each example, by the path of the first."""
        first, *others = self._parts
        by_stem = {column: self._by_stem(self._parts[column]) for column in others}
        groups = []
        for stem, path in self._stems(self._parts[first]):
            files = {column: by_stem[column].get(stem, []) for column in others}
            if self._select.search(path):
                groups.append(FileGroup(path, {first: [path], **files}))
        return groups

    def _by_stem(self, end: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for stem, path in self._stems(end):
            found.setdefault(stem, []).append(path)
        return found

    def _stems(self, end: str) -> list[tuple[str, str]]:
        """Return the files with an end, each after what stands before it, in order."""
        return [(stem, path) for path in self._paths if (stem := _stem(path, end)) is not None]

    def metadata(self) -> _Metadata:
        """Return the columns of a metadata file by the path of the file that they are about."""
        name = metadata_file(self._paths)
        if name is None:
            return {}
        found = name.removesuffix(PurePosixPath(name).name)
        about: dict[str, dict[str, str | None]] = {}
        try:
            text = self._source.read(name).decode(self._encoding)
            for row in _csv_rows(text) if name.endswith(".csv") else _json_lines(text):
                path = found + str(PurePosixPath(row.pop(_FILE_NAME).replace("\\", "/")))
                if path in about:
                    raise ValueError(_("there are two rows about {file}", file=path))
                about[path] = {key: None if value is None else str(value) for key, value in row.items()}
        except (BadFileError, ValueError, KeyError, csv.Error, AttributeError, RecursionError) as error:
            raise DatasetError(
                _("{file} cannot be read: {error}.", file=name, error=error),
                _("It needs a column {column!r} and one row for each file.", column=_FILE_NAME),
            ) from error
        return about

    def splits(self, groups: Sequence[FileGroup], folders_below: int) -> dict[str, str]:
        """Return the split of each group by the path of its first file, where folders say it of all."""
        firsts = [group.first for group in groups]
        return dict(zip(firsts, splits_of(firsts, folders_below) or (), strict=False))

    def not_there(self, metadata: _Metadata) -> list[dict[str, str]]:
        """Return the files that the metadata file is about, but which are missing."""
        reason = _("the metadata file has a row for it, but it is not there")
        return first_of([{"file": path, "reason": reason} for path in metadata if path not in self._known])

    def row(self, group: FileGroup, metadata: _Metadata, label: str | None, wanted: Any) -> Row:
        """Return the row of one example."""

        def read() -> dict[str, Any]:
            values = {column: self._value(column, files) for column, files in group.files.items()}
            values |= {key: value for key, value in metadata.get(group.first, {}).items() if key != wanted}
            return values if wanted is None else {**values, "label": label}

        return Row(group.first, read, partial(self._source.read, group.first))

    def _value(self, column: str, files: Sequence[str]) -> Any:
        if not files:
            raise BadExampleError(_("there is no file for {column!r} ({end})", column=column, end=self._parts[column]))
        if len(files) > 1:
            listed = ", ".join(files)
            raise BadExampleError(_("there are several files for {column!r}: {listed}", column=column, listed=listed))
        file = files[0]
        try:
            data = self._source.read(file)
        except BadFileError as error:
            raise BadExampleError(str(error)) from error
        if _kind(self._parts[column]) != "text":
            return {"bytes": data, "path": file} if data else b""
        return self._text(file, data)

    def _text(self, file: str, data: bytes) -> str:
        try:
            text = self._text_from(data.decode(self._encoding))
        except UnicodeDecodeError as error:
            reason = _("{file} is not encoded in {encoding}", file=file, encoding=self._encoding)
            raise BadExampleError(reason) from error
        if not text:
            raise BadExampleError(_("{file} is empty", file=file))
        if "\0" in text:
            raise BadExampleError(_("there is a NUL byte in {file}", file=file))
        return text


def _csv_rows(text: str) -> Iterator[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    for row in reader:
        if None in row:
            raise ValueError(_("line {line} has more values than there are columns", line=reader.line_num))
        yield row


def _json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines_of(text) if line.strip()]
