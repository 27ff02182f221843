"""`armillary.publishing` as a notebook calls it, against a real deployment."""

import numpy as np
import pytest
from armillary import publishing
from armillary.datasets import InputSpec
from armillary.errors import PublishingError
from armillary.inference import Endpoint
from armillary.training import TrainedModel

SPEC = InputSpec(
    "table", (3,), "float32", 1.0, (1.0, 0.0, 0.5), (2.0, 1.0, 0.5), ("width", "colour=red", "colour=blue")
)


@pytest.fixture
def token(deployment, monkeypatch):
    """Make this process one that the hub started for Ada."""
    token = deployment.token("ada")
    environment = {
        "JUPYTERHUB_USER": "ada",
        "JUPYTERHUB_API_TOKEN": token,
        "JUPYTERHUB_API_URL": deployment.settings.hub_api_url,
        "ARMILLARY_PUBLIC_URL": deployment.url,
        "ARMILLARY_POOL_URL": deployment.settings.direct_url("gpu-pool"),
        "ARMILLARY_GATEWAY_URL": deployment.settings.service_url("dask-gateway"),
        "ARMILLARY_APPS_URL": deployment.settings.service_url("apps"),
        "MLFLOW_TRACKING_URI": deployment.settings.service_url("mlflow"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return token


@pytest.fixture(scope="module")
def model():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return TrainedModel("torch", torch.nn.Sequential(torch.nn.Linear(3, 2)), SPEC, ("no", "yes"), "", None, "petals")


def test_the_way_of_a_model(deployment, token, model):
    panel = publishing.panel(model)
    assert (panel.name.value, panel.title.value) == ("petals", "Petals")
    panel.access.value = "named"
    panel.people.value = "nobody-here"
    panel._publish()
    panel.wait(120)
    assert panel.error.what == "The hub knows nobody called 'nobody-here'."
    assert "Not published" in panel.result.value
    assert publishing.apps() == []

    panel.access.value = "everyone"
    panel._publish()
    panel.wait(240)
    assert panel.error is None
    assert 'href="/user/app-petals/"' in panel.result.value
    app = panel.app
    assert [each.name for each in publishing.apps()] == ["petals"]

    raw = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    endpoint = Endpoint(app.api_url)
    np.testing.assert_allclose(endpoint.predict(SPEC.prepare(raw)), model.predict(raw), atol=1e-5)
    endpoint.close()

    assert publishing.publish(model, name="petals", title="Petals 2").release == 2
    assert publishing.apps()[0].access == {"users": [], "groups": []}
    assert publishing.rollback("petals").release == 1
    with pytest.raises(PublishingError, match="App 'petals' has no release 9"):
        publishing.rollback("petals", 9)
    publishing.unpublish("petals")
    with pytest.raises(PublishingError, match="There is no app 'petals'"):
        publishing.unpublish("petals")
