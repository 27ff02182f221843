"""Finished units on their way into a version: its shards, splits, media and what was refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset
from armillary.datasets.importing.rejects import Rejects
from armillary.datasets.manifest import StoredFile
from armillary.datasets.media import Medium, put_beside
from armillary.datasets.preparing import travel
from armillary.datasets.preparing.pipeline import Pipeline
from armillary.datasets.preparing.recipe import Recipe, learned_apart
from armillary.datasets.preparing.units import SHARD, Done, merged
from armillary.datasets.preparing.workshop import Workshop
from armillary.datasets.saving import Content, Placed
from armillary.datasets.shards import link_file, link_files
from armillary.datasets.splits import Assignment
from armillary.errors import DatasetError

_ = translator(__file__)


@dataclass
class Made:
    """All that a preparation has made.

    Attributes
    ----------
    settings
        The first entry of the version's recipe.
    done
        What came of each unit, in order.
    """

    pipeline: Pipeline
    recipe: Recipe
    settings: dict[str, Any]
    workshop: Workshop
    done: list[Done]
    rejects: Rejects
    _learned: list[StoredFile] = field(default_factory=list)

    def content(self) -> Content:
        """Return the version to be.

        Raises
        ------
        DatasetError
            When examples cannot be used and that is to stop it, or none is left.
        """
        dataset, form = self.pipeline.dataset, self.pipeline.form
        self._refuse()
        return Content(
            features=dict(form.features),
            target=form.target,
            place=self._place,
            recipe=(self.settings, *learned_apart(self.recipe.to_json(), self._put_learned)),
            source=dataset.manifest.source,
            licence=dataset.manifest.licence,
            parent=dataset.reference,
        )

    def _refuse(self) -> None:
        dataset = self.pipeline.dataset
        for row, reason in self._refused().items():
            self.rejects.add(example_name(row), reason, lambda row=row: _data_of(dataset, row))  # type: ignore[misc]
        self.rejects.check(len(dataset))
        if not any(done.codes for done in self.done):
            raise DatasetError(_("The recipe leaves no example."), _("Change its conditions."))

    def _refused(self) -> dict[int, str]:
        """Return the rows that cannot be used, with the reason; of several copies, the first that could not."""
        found: dict[int, str] = {}
        for done in self.done:
            for row, reason in done.refused:
                found.setdefault(row, reason)
        return found

    def _put_learned(self, data: bytes, path: str) -> str:
        file = put_beside(self.workshop.folder, data, path)
        self._learned.append(file)
        return file.file

    def _place(self, folder: Path) -> Placed:
        """Give everything its place in the version's folder."""
        codes = np.array([code for done in self.done for code in done.codes], np.int64)
        labels = np.array([label for done in self.done for label in done.labels], np.int64)
        parts = [np.array(done.moments) for done in self.done if done.moments]
        return Placed(
            shards=tuple(self._shards(folder)),
            split=Assignment(tuple(self.pipeline.dataset.splits), codes),
            labels=labels if self.pipeline.form.target is not None else None,
            input=travel.input_of(self.pipeline, merged(parts) if parts else None),
            media=tuple(self._media(folder).values()),
            skipped_file=self.rejects.write(folder),
            report=self.rejects.report(),
        )

    def _shards(self, folder: Path) -> Iterator[StoredFile]:
        number = 0
        for unit, done in enumerate(self.done):
            if done.shard is not None:
                name = f"shard-{number:05d}.parquet"
                link_file(self.workshop.place_of(unit) / SHARD, folder / name)
                yield replace(done.shard, file=name)
                number += 1

    def _media(self, folder: Path) -> dict[str, StoredFile]:
        """Place long media, of the old version and new ones, and what steps have learned."""
        before = {name for done in self.done for name in done.media_before}
        kept = [file for file in self.pipeline.dataset.manifest.media if file.file in before]
        found = {file.file: file for file in link_files(folder, self.pipeline.dataset.folder, kept)}
        made = [(self.workshop.place_of(unit), file) for unit, done in enumerate(self.done) for file in done.media]
        for place, file in (*made, *((self.workshop.folder, file) for file in self._learned)):
            if file.file not in found:
                link_file(place / file.file, folder / file.file)
                found[file.file] = file
        return found


def example_name(row: int) -> str:
    """Return what an error calls a row."""
    return _("example {n}", n=row + 1)


def _data_of(dataset: Dataset, row: int) -> bytes:
    """Return what is set aside of a row: its medium if it has one, else its values as JSON."""
    example = dataset.take([row])[0]
    media = [value for value in example.values() if isinstance(value, Medium)]
    if len(media) == 1:
        return media[0].read()
    return json.dumps(example, ensure_ascii=False, default=str).encode()
