"""One tree of errors. Each says what happened, where, and what to do.

ArmillaryError
├── DatasetError        a dataset cannot be imported, opened, split or saved
├── ClusterError        a Dask cluster cannot be had or has been lost
├── GpuError            there is no GPU pool to look at
├── TrainingError       a training run cannot start, failed or was cancelled
├── EvaluationError     a model and a dataset do not fit each other
├── PublishingError     a model cannot be exported, checked, released or found
├── InferenceError      an endpoint refuses or cannot answer a request
└── JobError            a notebook job has wrong parameters or failed
"""

from armillary_kernels.errors import ArmillaryError

__all__ = [
    "ArmillaryError",
    "ClusterError",
    "DatasetError",
    "EvaluationError",
    "GpuError",
    "InferenceError",
    "JobError",
    "PublishingError",
    "TrainingError",
]


class DatasetError(ArmillaryError):
    """A dataset cannot be imported, opened, split or saved."""


class ClusterError(ArmillaryError):
    """A Dask cluster cannot be had or has been lost."""


class GpuError(ArmillaryError):
    """There is no GPU pool to look at."""


class TrainingError(ArmillaryError):
    """A training run cannot start, failed or was cancelled."""


class EvaluationError(ArmillaryError):
    """A model and a dataset do not fit each other."""


class PublishingError(ArmillaryError):
    """A model cannot be exported, checked, released or found."""


class InferenceError(ArmillaryError):
    """An endpoint refuses or cannot answer a request."""


class JobError(ArmillaryError):
    """A notebook job has wrong parameters or failed."""
