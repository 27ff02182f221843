"""What a release says about itself: written where a model is published, read by the hub and by the app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from armillary_kernels.plain_files import read_plain_file

#: Files of a release.
MANIFEST, MODEL, NOTEBOOK = "release.json", "model.onnx", "app.ipynb"

#: Bytes of a release's description at most; 10,000 class names of 200 characters fit.
_LARGEST_MANIFEST = 16 * 2**20

#: An app's hub user is ``app-<name>``, and a user's name has 31 characters at most.
AppName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,26}$")]

_Text = Annotated[str, StringConstraints(strip_whitespace=True)]


class Release(BaseModel):
    """One published model and how to use it.

    Attributes
    ----------
    name
        The app's name; the model's name at its endpoint too.
    title, description
        For people.
    class_names
        One for each column of the output ``probabilities``.
    input
        The form of a raw example: ``InputSpec.to_json()``.
    layout
        The order of axes that the ONNX graph takes images in.
    framework, dataset, run_id
        Where the model comes from.
    difference
        The largest absolute difference between the original's and the export's probabilities on the checked examples.
    gpus
        GPUs that the app leases while it runs: 0 or 1.
    owner, number, created
        Filled in by the hub.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: AppName
    title: Annotated[_Text, Field(min_length=1, max_length=80)]
    description: Annotated[_Text, Field(max_length=2000)] = ""
    class_names: Annotated[tuple[Annotated[str, Field(max_length=200)], ...], Field(min_length=1, max_length=10_000)]
    input: dict[str, Any]
    layout: Literal["channels_first", "channels_last"] = "channels_last"
    framework: Annotated[str, Field(max_length=40)] = ""
    dataset: Annotated[str, Field(max_length=200)] = ""
    run_id: Annotated[str, Field(max_length=200)] | None = None
    difference: float | None = None
    gpus: Annotated[int, Field(ge=0, le=1)] = 0
    owner: Annotated[str, Field(max_length=64)] = ""
    number: int = 0
    created: Annotated[str, Field(max_length=40)] = ""

    @classmethod
    def read(cls, folder: Path) -> Release:
        """Return the release that lies in ``folder``, which may belong to the app's account."""
        return cls.model_validate_json(read_plain_file(folder / MANIFEST, _LARGEST_MANIFEST))
