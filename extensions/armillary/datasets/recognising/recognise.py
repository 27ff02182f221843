"""Which imports fit files: told by their names, and by a look into a few of them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from armillary_kernels.texts import translator

from armillary.datasets.importing.arrow_files import ARROW_SUFFIXES, PARQUET_SUFFIXES
from armillary.datasets.importing.files import kind_of_file, metadata_file
from armillary.datasets.importing.sources import BadFileError, FileSource, is_archive, open_source
from armillary.datasets.importing.table_files import is_table
from armillary.datasets.importing.table_folders import tables_among
from armillary.datasets.importing.text_pairs import by_language, code_in
from armillary.datasets.recognising.addresses import database_file
from armillary.datasets.recognising.ways import Way
from armillary.errors import DatasetError

_ = translator(__file__)

MEDIA = ("image", "audio", "video")
_BOX = re.compile(rb"\s*\d+(\s+[-+.\deE]+){4}\s*(\n|$)")
_IDX = re.compile(r"(.*)(images?|labels?)([-_.]idx)?([-_.]?)([13]?)(-ubyte|\.idx[13])((?:\.gz)?)", re.IGNORECASE)
_PO_LANGUAGE = re.compile(rb'"Language: *([A-Za-z]{2,3}(?:[-_][A-Za-z]+)?)')
_TMX_LANGUAGE = re.compile(rb'(?:xml:)?lang="([A-Za-z-]+)"')
_MANY = 200


def ways_of(path: Path) -> tuple[Way, ...]:
    """Return the ways to import a file, an archive or a folder, the likeliest first.

    Raises
    ------
    DatasetError
        When it cannot be read, or nothing in it is known.
    """
    database = None if is_archive(path) or path.is_dir() else database_file(path)
    if database is not None:
        return (database,)
    suffix = path.suffix.lower()
    if suffix in (".npz", ".npy"):  # of a single array, the import says that it lacks the classes
        return (Way("numpy", {"x": "", "y": ""}),)
    if suffix in (".po", ".tmx") and path.is_file():
        return (translations({path.name: path.read_bytes()}),)
    if is_table(path) and not path.is_dir():
        table, columns = Way("table", {"target": None}), Way("columns", {"target": None})
        if suffix not in PARQUET_SUFFIXES | ARROW_SUFFIXES:
            return (table,)
        return (columns, table) if has_nested_columns(path) else (table, columns)
    with open_source(path) as source:
        found = tuple(_ways_of_files(source))
        found += tuple(_ways_of_tables(path, source.paths()))
    if not found:
        raise DatasetError(
            _("In {place}, nothing is known to be examples.", place=path.name),
            _("Give pictures, sounds, videos or texts, translations (.po, TMX, news.en + news.zh) or a table."),
        )
    return tuple({way.title: way for way in reversed(found)}.values())[::-1]


def has_nested_columns(path: Path) -> bool:
    """Return whether a Parquet or Arrow file has more than numbers and texts: then a table would lose it."""
    try:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            schema = pq.read_schema(path)
        else:
            with pa.memory_map(str(path)) as file:
                schema = pa.ipc.open_file(file).schema
    except (OSError, pa.ArrowException):
        return False
    return any(pa.types.is_nested(column.type) or pa.types.is_binary(column.type) for column in schema)


def _ways_of_files(source: FileSource) -> Iterator[Way]:
    paths = source.paths()
    kinds = Counter(kind for path in paths if (kind := kind_of_file(path)) is not None)
    if kinds["image"]:
        yield from _boxes(source)
    written = [path for path in paths if path.lower().endswith((".po", ".tmx"))]
    if written:
        yield translations({path: _read(source, path) for path in written[:5]})
    if images_and_labels(paths):
        yield Way("idx")
    by_name = by_language(paths) if not written else {}
    beside = {shared: files for shared, files in by_name.items() if "*/" not in shared}
    if beside:
        yield translations_of_names(beside)
    if metadata_file(paths) is not None and (most := _most(kinds, MEDIA)):
        yield files({most: most}, None, described=True)
    yield from _companions(paths)
    yield from _class_folders(paths)
    if by_name and not beside:
        yield translations_of_names(by_name)
    yield from (files({kind: kind}, None) for kind, count in kinds.most_common() if count)


def _ways_of_tables(place: Path, paths: Sequence[str]) -> Iterator[Way]:
    """Yield the ways to several tables; Parquet and Arrow files are those that a folder holds itself."""
    if place.is_dir() and _looks_like_hub(paths):
        yield Way("huggingface", {"repository": str(place), "config": None, "parts": None, "target": None})
    known = [path for path in paths if PurePosixPath(path).suffix.lower() in PARQUET_SUFFIXES | ARROW_SUFFIXES]
    if any("/" not in path for path in known) or (known and not place.is_dir()):
        yield Way("columns", {"target": None})
    # Lists of objects describe pictures more often than they are tables.
    if any(not path.lower().endswith(".json") and path not in known for path in tables_among(paths)):
        yield Way("table", {"target": None})


def _most(kinds: Mapping[str, int], wanted: Sequence[str]) -> str | None:
    most = max(wanted, key=lambda kind: kinds[kind])
    return most if kinds[most] else None


def _read(source: FileSource, path: str) -> bytes:
    try:
        return source.read(path)
    except BadFileError:
        return b""


# Boxes --------------------------------------------------------------------------------------------------------


def _boxes(source: FileSource) -> Iterator[Way]:
    for layout, suffix, is_one in (
        ("coco", ".json", lambda data: b'"annotations"' in data and b'"categories"' in data),
        ("voc", ".xml", lambda data: b"<annotation" in data),
    ):
        named = [path for path in source.paths() if path.lower().endswith(suffix)]
        if any(is_one(_read(source, path)) for path in named[:5]):
            yield Way("boxes", {"layout": layout})
    if _is_yolo(source):
        yield Way("boxes", {"layout": "yolo"})


def _is_yolo(source: FileSource) -> bool:
    pictures = {PurePosixPath(path).stem for path in source.paths() if kind_of_file(path) == "image"}
    texts = [path for path in source.paths() if path.lower().endswith(".txt") and PurePosixPath(path).stem in pictures]
    first = (_read(source, path) for path in texts[:_MANY])
    return next((_BOX.match(data) is not None for data in first if data.strip()), False)


# Translations -------------------------------------------------------------------------------------------------


def translations(files: Mapping[str, bytes]) -> Way:
    """Return the way to translation pairs, their languages guessed from .po and TMX files."""
    codes: Counter[str] = Counter()
    for name, data in files.items():
        pattern = _PO_LANGUAGE if name.lower().endswith(".po") else _TMX_LANGUAGE
        codes.update(code.decode().replace("_", "-") for code in pattern.findall(data[: 2**20]))
    plain = Counter({code: n for code, n in codes.items() if "-" not in code}) or codes
    found = [code.split("-")[0].lower() for code, _n in plain.most_common()]
    named = (code.replace("_", "-").split("-")[0].lower() for name in files if (code := code_in(name)))
    others = [code for code in (*found, *named) if code != "en"]
    return Way("translations", {"languages": ("en", others[0] if others else "zh")})


def translations_of_names(groups: Mapping[str, Mapping[str, str]]) -> Way:
    """Return the way to pairs of text files."""
    codes = Counter(code for files in groups.values() for code in files)
    most = [code for code, _n in codes.most_common(2)]
    return Way("translations", {"languages": tuple(sorted(most, key=lambda code: (code != "en", code)))})


# Files that are examples --------------------------------------------------------------------------------------


def files(parts: Mapping[str, str], label: str | None, *, described: bool = False) -> Way:
    """Return the way to files that are examples, or parts of one."""
    kinds = tuple(end if end in (*MEDIA, "text") else str(kind_of_file(f"x{end}")) for end in parts.values())
    return Way("files", {"parts": dict(parts), "label": label, "kinds": kinds, "described": described})


def _companions(paths: Sequence[str]) -> Iterator[Way]:
    """Yield the way to files of one stem: a picture with its text, a sound with its transcript."""
    of_stem: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        kind = kind_of_file(path)
        if kind is not None:
            of_stem[str(PurePosixPath(path).with_suffix(""))].add(kind)
    together = Counter(tuple(sorted(kinds)) for kinds in of_stem.values() if len(kinds) > 1)
    if together:
        kinds = sorted(together.most_common(1)[0][0], key=(*MEDIA, "text").index)
        yield files({kind: kind for kind in kinds}, None)


def _class_folders(paths: Sequence[str]) -> Iterator[Way]:
    folders: dict[str, set[str]] = defaultdict(set)
    counts: Counter[str] = Counter()
    for path in paths:
        kind, folder = kind_of_file(path), PurePosixPath(path).parent.name
        if kind is not None and folder:
            folders[kind].add(folder)
            counts[kind] += 1
    for kind, _n in counts.most_common():
        if len(folders[kind]) > 1:
            yield Way("images") if kind == "image" else files({kind: kind}, "folder")


def images_and_labels(paths: Sequence[str]) -> tuple[str, str] | None:
    """Return the first pair of IDX files, such as ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``."""
    of_set: dict[str, dict[str, str]] = defaultdict(dict)
    for path in paths:
        if found := _IDX.fullmatch(path):
            of_set[found[1].lower()]["images" if found[2].lower().startswith("image") else "labels"] = path
    pairs = [both for _set, both in sorted(of_set.items(), key=lambda item: "train" not in item[0]) if len(both) == 2]
    return (pairs[0]["images"], pairs[0]["labels"]) if pairs else None


# Hugging Face's folders ---------------------------------------------------------------------------------------


def _looks_like_hub(paths: Sequence[str]) -> bool:
    """Return whether files are laid out as on the hub: ``data/train-00000-of-00001.parquet`` and the like."""
    named = re.compile(r"(?:.*/)?(train|test|validation|dev)\b[^/]*\.(parquet|arrow|csv|jsonl?)|dataset_dict\.json")
    return any(named.fullmatch(path) for path in paths)
