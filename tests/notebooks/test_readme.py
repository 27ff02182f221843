"""The README keeps its word: its code runs as it stands, its commands and links exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_story_in_code_runs_in_a_plain_script(tmp_path):
    story = next(block for block in blocks("python") if "training.fit" in block)
    script = tmp_path / "story.py"
    script.write_text(story)
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "ARMILLARY_DATASETS": str(tmp_path / "datasets")}
    answer = subprocess.run(
        [sys.executable, str(script)], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert answer.returncode == 0, answer.stderr
    assert float(re.search(r"^([\d.]+)%$", answer.stdout, re.MULTILINE)[1]) >= 97
    assert (tmp_path / "digits.onnx").stat().st_size > 10_000


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {
        line.split()[1] for block in blocks("sh") for line in block.splitlines() if line.startswith("make ")
    } <= targets


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^armillary (\w+)", README, re.MULTILINE))))
def test_every_command_exists_with_the_options_shown(command):
    answer = subprocess.run(
        [Path(sys.executable).parent / "armillary", command, "--help"], capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    shown = {
        option
        for line in re.findall(rf"^armillary {command}(.*)$", README, re.MULTILINE)
        for option in re.findall(r"(?<!\S)--?[a-z]+", line.split("#")[0])
    }
    assert all(option in answer.stdout for option in shown)


def test_every_link_leads_to_a_file_or_a_heading():
    headings = {
        re.sub(r"[^\w一-鿿 -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in README.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert target[1:] in headings if target.startswith("#") else (ROOT / target).exists(), target


def test_the_changelog_tells_of_this_version():
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
