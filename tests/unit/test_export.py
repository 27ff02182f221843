"""Networks of both frameworks become ONNX that agrees with them, or an error that says why not."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import onnxruntime
import pytest
from armillary import datasets, publishing
from armillary.datasets import InputSpec
from armillary.errors import PublishingError
from armillary.training import TrainedModel
from armillary_kernels.processes import Process
from support.gpu_pool import eventually

CLASSES = ("a", "b", "c")
IMAGES = InputSpec("image", (8, 8, 1))
TABLE = InputSpec("table", (4,), "float32", 1.0, (0.0,) * 4, (1.0,) * 4, ("p", "q", "r", "s"))


def trained(framework, network, spec, classes=CLASSES):
    return TrainedModel(framework, network, spec, classes, dataset="", run_id=None, name="small")


def torch_image():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3)]
    return trained("torch", torch.nn.Sequential(*layers), IMAGES)


def torch_table():
    import torch

    torch.manual_seed(0)
    return trained("torch", torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)), TABLE)


def keras_image():
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten()]
    return trained("tensorflow", keras.Sequential([*layers, keras.layers.Dense(3)]), IMAGES)


def examples(spec, n):
    random = np.random.default_rng(1)
    if spec.kind == "image":
        return random.integers(0, 256, (n, *spec.shape), dtype=np.uint8)
    return random.normal(size=(n, *spec.shape)).astype(np.float32)


@pytest.mark.parametrize("make", [torch_image, torch_table, keras_image])
def test_the_export_agrees_at_every_batch_size(make, tmp_path):
    model = make()
    export = publishing.export_onnx(model, tmp_path / "model.onnx")
    assert export.difference < 1e-5
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(export.path)
    ((given,), (gives,)) = session.get_inputs(), session.get_outputs()
    assert (given.name, gives.name) == ("input", "probabilities")
    layout = "channels_first" if model.framework == "torch" else "channels_last"
    for n in (1, 2, 33):
        raw = examples(model.input, n)
        (got,) = session.run(None, {"input": model.input.prepare(raw, layout)})
        np.testing.assert_allclose(got, model.predict(raw), atol=1e-5)


def test_an_output_that_does_not_match_the_classes(tmp_path):
    import torch

    model = trained("torch", torch.nn.Sequential(torch.nn.Linear(4, 5)), TABLE)
    with pytest.raises(PublishingError, match="'small' gives 5 values for each example, but there are 3 classes"):
        publishing.export_onnx(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_exported(tmp_path):
    import torch

    class Branches(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.last = torch.nn.Linear(4, 3)

        def forward(self, x):
            return self.last(x) if float(x.sum()) > 0 else -self.last(x)

    with pytest.raises(PublishingError, match="'small' cannot be exported to ONNX"):
        publishing.export_onnx(trained("torch", Branches(), TABLE), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_gives_nan(tmp_path):
    import torch

    network = torch.nn.Sequential(torch.nn.Linear(4, 3))
    with torch.no_grad():
        network[0].bias.fill_(float("nan"))
    with pytest.raises(PublishingError, match="'small' gives NaN"):
        publishing.export_onnx(trained("torch", network, TABLE), tmp_path / "model.onnx")


def test_an_export_that_differs(tmp_path):
    with pytest.raises(PublishingError, match="differs from the original by up to"):
        publishing.export_onnx(torch_table(), tmp_path / "model.onnx", tolerance=-1.0)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_trained_model(tmp_path):
    with pytest.raises(PublishingError, match="A Sequential is no trained model"):
        publishing.export_onnx(torch_table().network, tmp_path / "model.onnx")


def test_a_dataset_without_test_examples_checks_the_export_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMILLARY_DATASETS", str(tmp_path / "store"))
    rows = np.random.default_rng(0).normal(size=(30, 4))
    datasets.import_arrays(rows, np.arange(30) % 3, "rows", split={"train": 0.8, "validation": 0.2})
    export = publishing.export_onnx(torch_table(), tmp_path / "model.onnx", data="rows@1")
    assert (export.examples, export.difference < 1e-5) == (30, True)


@pytest.mark.parametrize("name", ["", "Digits", "a/b", "../x", "x" * 28])
def test_a_name_that_no_app_can_have_is_refused_before_anything_is_done(name):
    with pytest.raises(PublishingError, match="cannot be an app's name"):
        publishing.publish(None, name=name)


def test_publishing_outside_a_hub_says_so(monkeypatch):
    monkeypatch.delenv("ARMILLARY_PUBLIC_URL", raising=False)
    with pytest.raises(PublishingError, match="There is no hub here to publish to"):
        publishing.apps()


def test_a_process_that_has_loaded_tensorflow_exports_torch_too(tmp_path):
    """Also a class of its own, as a notebook would define it."""
    script = """
        import sys, tensorflow, torch
        from armillary.inputs.input_spec import InputSpec
        from armillary.publishing import export_onnx
        from armillary.training import TrainedModel
        class Doubling(torch.nn.Linear):
            def forward(self, x):
                return 2 * super().forward(x)
        spec = InputSpec("image", (2, 2, 1))
        network = torch.nn.Sequential(torch.nn.Flatten(), Doubling(4, 2))
        export_onnx(TrainedModel("torch", network, spec, ("a", "b"), "", None, "doubling"), sys.argv[1])
    """
    path = tmp_path / "model.onnx"
    command = [sys.executable, "-c", textwrap.dedent(script), path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert path.stat().st_size > 0


def test_a_crash_of_the_exporter_is_an_error(tmp_path):
    import torch

    class CrashesElsewhere(torch.nn.Linear):
        home = os.getpid()

        def forward(self, x):
            if os.getpid() != self.home:
                os.kill(os.getpid(), signal.SIGSEGV)
            return super().forward(x)

    with pytest.raises(PublishingError, match=r"The exporter of 'small' crashed \(SIGSEGV\)") as caught:
        publishing.export_onnx(trained("torch", CrashesElsewhere(4, 3), TABLE), tmp_path / "model.onnx")
    assert "Segmentation fault" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_an_exporter_sees_no_token_and_no_gpu_and_ends_with_its_parent(tmp_path):
    script = """
        import json, os, sys, time, torch
        from armillary.inputs.input_spec import InputSpec
        from armillary.publishing import export_onnx
        from armillary.training import TrainedModel
        class Tells(torch.nn.Linear):
            home = os.getpid()
            def forward(self, x):
                if os.getpid() != self.home:
                    print(json.dumps({"pid": os.getpid(), **os.environ}), file=open(sys.argv[1], "w"), flush=True)
                    time.sleep(300)
                return super().forward(x.flatten(1))
        spec = InputSpec("image", (2, 2, 1))
        export_onnx(TrainedModel("torch", Tells(4, 2), spec, ("a", "b"), "", None, "tells"), "unused.onnx")
    """
    told = tmp_path / "told.json"
    secrets = {"JUPYTERHUB_API_TOKEN": "t", "AWS_SECRET_ACCESS_KEY": "s"}
    command = [sys.executable, "-c", textwrap.dedent(script).replace("sys.argv[1]", repr(str(told)))]
    parent = subprocess.Popen(command, cwd=tmp_path, env=os.environ | secrets | {"CUDA_VISIBLE_DEVICES": "0"})
    try:
        eventually(lambda: told.exists() and told.read_text(), within=60, what="the exporter at work")
    finally:
        parent.kill()
        parent.wait()
    seen = json.loads(told.read_text())
    assert seen["CUDA_VISIBLE_DEVICES"] == ""
    assert not secrets.keys() & seen.keys()
    eventually(lambda: Process.of(seen["pid"]) is None, what="the exporter's end")
