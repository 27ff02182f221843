"""Import by name from the Hugging Face hub, or from a folder laid out as a dataset of theirs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset
from armillary.datasets.huggingface import from_huggingface, loaded, source_of
from armillary.datasets.importing.examples import SaveOptions
from armillary.errors import DatasetError

_ = translator(__file__)

_COMMIT = re.compile(r"@([0-9a-f]{40})/")


def import_huggingface(
    repository: str,
    name: str,
    *,
    config: str | None = None,
    revision: str | None = None,
    parts: Mapping[str, str] | Sequence[str] | None = None,
    target: str | None = None,
    **options: Unpack[SaveOptions],
) -> Dataset:
    """Save a dataset of the Hugging Face hub, loaded by ``datasets.load_dataset``. No code that comes with it is run.

    Parameters
    ----------
    repository
        Its name there, such as ``"stanfordnlp/imdb"``, or a folder of this machine. A private one needs ``HF_TOKEN``.
    name
        The dataset's name here. When it is taken by a dataset of the same form, this becomes its next version.
    config, revision
        Which of its configurations, and which commit, tag or branch; the manifest's source names the commit.
    parts
        Which of its splits: their names, or a split here for each of theirs, which may be a slice:
        ``{"train": "train[:5000]", "test": "validation"}``. All of them by default.
    target
        The column with the class; the only `ClassLabel` column unless given.
    options
        See `SaveOptions`; ``split`` divides a dataset that has no splits. The licence is the one that it declares.

    Raises
    ------
    DatasetError
        When it cannot be loaded or has no such part, has a feature that is unknown here, an example cannot be used, or
        nothing can be written.

    Examples
    --------
    >>> datasets.import_huggingface("stanfordnlp/imdb", "imdb", parts={"train": "train[:5000]", "test": "test[:1000]"})
    """
    found = loaded(repository, config, revision, _chosen(parts))
    info = next(iter(found.values())).info
    options.setdefault("source", source_of(repository, config, _commit(info) or revision))
    options.setdefault("licence", info.license or "")
    return from_huggingface(found, name, target=target, **options)


def _chosen(parts: Mapping[str, str] | Sequence[str] | None) -> Mapping[str, str] | None:
    if parts is None or (not isinstance(parts, str) and len(parts)):
        return parts if parts is None or isinstance(parts, Mapping) else {part: part for part in parts}
    raise DatasetError(
        _("The parts are {parts!r}.", parts=parts), _("Write them as {example}.", example='["train", "test"]')
    )


def _commit(info: Any) -> str | None:
    """Return the commit that was loaded, which stands in the addresses of its files."""
    addresses = (str(address) for address in info.download_checksums or ())
    return next((found[1] for address in addresses if (found := _COMMIT.search(address))), None)
