"""Batches of pictures in the form that models take, each decoded straight into its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.media import Medium
from armillary.datasets.reading.batch_memory import BatchMemory
from armillary.datasets.reading.decoding import PictureDecoder
from armillary.datasets.reading.row_groups import RowGroups
from armillary.errors import DatasetError
from armillary.inputs.pictures import BadPictureError

_ = translator(__file__)

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Pictures:
    """The column of pictures, the column of classes, and how a picture becomes numbers (`prefetch.Work`)."""

    reference: str
    image: str
    target: str
    groups: RowGroups
    decoder: PictureDecoder
    memory: BatchMemory = field(default_factory=BatchMemory)

    @property
    def columns(self) -> tuple[str, str]:
        """The two columns."""
        return self.image, self.target

    def begin(self, examples: int) -> Batch:
        """Return an empty batch ``(x, y)``."""
        shape = self.decoder.spec.prepared_shape(self.decoder.layout)
        return self.memory.array((examples, *shape)), np.empty(examples, np.int64)

    def fill(self, batch: Batch, index: int, values: Mapping[str, pa.Scalar], row: int) -> None:
        """Decode a picture into its place.

        Raises
        ------
        DatasetError
            When it is damaged.
        """
        x, y = batch
        y[index] = values[self.target].as_py()
        file = values[self.image].as_py()
        try:
            data = Medium.stored(file, self.groups.folder, self.groups.manifest.media).read()
            self.decoder.decode_into(x[index], data)
        except BadPictureError as error:
            what = _(
                "The picture {path} in row {row} of {dataset} cannot be read: {error}.",
                path=file["path"] or _("without a name"),
                row=row,
                dataset=self.reference,
                error=error,
            )
            raise DatasetError(what, _("Import the data anew without it.")) from error

    def finish(self, batch: Batch) -> Batch:
        """Return the batch as it is."""
        return batch
