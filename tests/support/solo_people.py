"""The people of a solo deployment, as its folders know them: who is in which group, and where their datasets lie."""

from __future__ import annotations

from pathlib import Path

from armillary_hub.accounts.shared_folders import keep_in_step
from armillary_hub.settings import Settings

GROUPS = {"ann": ["everyone", "vision"], "bob": ["everyone"], "cleo": ["everyone", "vision"]}


def variables_of(folder: Path) -> dict[str, dict[str, str]]:
    """Make the folders of a deployment and return what each person's kernel has in its environment."""
    settings = Settings(folder)
    settings.make_folders()
    for name, groups in GROUPS.items():
        keep_in_step(settings, name, groups)
        (settings.users_dir / name).mkdir()
    return {
        name: {
            "JUPYTERHUB_USER": name,
            "ARMILLARY_SHARED_DATASETS": str(settings.shared_dir),
            "ARMILLARY_DATASETS": str(settings.users_dir / name / "datasets"),
            "ARMILLARY_EDITS": str(settings.users_dir / name / "edits"),
            "ARMILLARY_CACHE": str(settings.users_dir / name / "cache"),
        }
        for name in GROUPS
    }
