"""Every text of a page template has its Chinese, in the catalogue beside the template or in the shared one."""

import json
from pathlib import Path

import pytest
from jinja2 import Environment, nodes

HUB = Path(__file__).parents[2] / "hub_config" / "armillary_hub"
SHARED = json.loads((HUB / "templates" / "texts_zh.json").read_text(encoding="utf-8"))
TEMPLATES = sorted(HUB.rglob("*.html"))


def texts_of(template):
    for call in Environment(autoescape=True).parse(template.read_text(encoding="utf-8")).find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == "_" and isinstance(call.args[0], nodes.Const):
            yield call.args[0].value


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(HUB)))
def test_every_text_of_a_template_has_its_chinese(template):
    catalogue = template.parent / "texts_zh.json"
    own = json.loads(catalogue.read_text(encoding="utf-8")) if catalogue.exists() else {}
    assert not [text for text in texts_of(template) if text not in own and text not in SHARED]
