"""Changing a version by hand, row by row, and saving what came of it as the next one."""

from armillary.datasets.editing.changes import Change
from armillary.datasets.editing.edits import Edits, edit, unsaved_edits
from armillary.datasets.editing.journal import Unsaved
from armillary.datasets.editing.summary import Summary

__all__ = ["Change", "Edits", "Summary", "Unsaved", "edit", "unsaved_edits"]
