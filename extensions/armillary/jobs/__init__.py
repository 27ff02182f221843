"""Notebooks that run without a browser: `run` a notebook with parameters and keep the executed copy.

The shell's way to the same is ``armillary run notebook.ipynb -p name value``.
"""

from armillary.jobs.execution import parameters, run
from armillary.jobs.parameters import Parameter
from armillary.jobs.result import JobFailure, JobResult, JobStopped

__all__ = ["JobFailure", "JobResult", "JobStopped", "Parameter", "parameters", "run"]
