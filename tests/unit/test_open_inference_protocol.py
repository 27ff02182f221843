"""The endpoint keeps to the Open Inference Protocol v2, over a real server."""

import asyncio
import json

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from armillary.errors import InferenceError
from armillary.inference import Endpoint as Client
from armillary_hub.app_server import batching, endpoint
from armillary_hub.app_server.endpoint import Endpoint
from armillary_hub.app_server.model import OnnxModel
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from support.asgi import running
from support.onnx_models import digits_model

PREFIX = "/user/app-digits/"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(digits_model())
    return OnnxModel(path)


@pytest.fixture(scope="module")
def server(model):
    served = Endpoint(model, "digits", "3")
    with running(Starlette(routes=[*served.routes(PREFIX)])) as port:
        yield f"http://127.0.0.1:{port}{PREFIX}"


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).random((4, 1, 28, 28), np.float32)


@pytest.fixture(scope="module")
def expected(model, x):
    return model.run({"input": x})["probabilities"]


def tensor(x, data=None, **changes):
    return {
        "name": "input",
        "datatype": "FP32",
        "shape": list(x.shape),
        "data": x.reshape(-1).tolist() if data is None else data,
        **changes,
    }


def post(server, body, path="v2/models/digits/infer", **options):
    content = body if isinstance(body, bytes) else json.dumps(body)
    return httpx.post(server + path, content=content, timeout=30, **options)


def probabilities(answer):
    (output,) = [each for each in answer.json()["outputs"] if each["name"] == "probabilities"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


# What there is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("v2/health/live", {"live": True}),
        ("v2/health/ready", {"ready": True}),
        ("v2/models/digits/ready", {"name": "digits", "ready": True}),
        ("v2/models/digits/versions/3/ready", {"name": "digits", "ready": True}),
    ],
)
def test_health(server, path, expected):
    answer = httpx.get(server + path)
    assert (answer.status_code, answer.json()) == (200, expected)


def test_metadata(server):
    assert httpx.get(f"{server}v2").json()["extensions"] == ["binary_tensor_data"]
    for path in ("v2/models/digits", "v2/models/digits/versions/3"):
        assert httpx.get(server + path).json() == {
            "name": "digits",
            "versions": ["3"],
            "platform": "onnx_onnxruntime",
            "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 1, 28, 28]}],
            "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}],
        }


# Inference --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["v2/models/digits/infer", "v2/models/digits/versions/3/infer"])
@pytest.mark.parametrize("nested", [False, True])
def test_json(server, x, expected, path, nested):
    body = {"id": "abc-1", "inputs": [tensor(x, x.tolist() if nested else None)]}
    answer = post(server, body, path)
    assert answer.status_code == 200
    about = answer.json()
    assert (about["id"], about["model_name"], about["model_version"]) == ("abc-1", "digits", "3")
    np.testing.assert_allclose(probabilities(answer), expected, atol=1e-6)


def test_named_outputs_and_parameters(server, x, expected):
    body = {"parameters": {"whatever": 1}, "inputs": [tensor(x)], "outputs": [{"name": "probabilities"}]}
    answer = post(server, body)
    assert "id" not in answer.json()
    np.testing.assert_allclose(probabilities(answer), expected, atol=1e-6)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_triton_client(server, x, expected, binary_in, binary_out):
    client = triton.InferenceServerClient(server.removeprefix("http://").rstrip("/"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.is_model_ready("digits", "3")
    assert client.get_server_metadata()["name"] == "armillary"
    assert client.get_model_metadata("digits")["inputs"][0]["name"] == "input"
    given = triton.InferInput("input", x.shape, "FP32")
    given.set_data_from_numpy(x, binary_data=binary_in)
    wanted = None if binary_out is None else [triton.InferRequestedOutput("probabilities", binary_data=binary_out)]
    result = client.infer("digits", [given], outputs=wanted, request_id="7")
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected, atol=1e-6)
    assert result.get_response()["id"] == "7"
    client.close()


def test_our_own_client(server, x, expected):
    client = Client(f"{server}v2/models/digits", token="")
    assert client.ready()
    np.testing.assert_allclose(client.predict(x), expected, atol=1e-6)
    with pytest.raises(InferenceError, match=r"The endpoint refused: Input 'input' takes shape \[-1, 1, 28, 28\]"):
        client.predict(x[0])
    client.close()


# Refusals ---------------------------------------------------------------------------------------------------


def refused(answer, status, part):
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert part in answer.json()["error"]


X = np.zeros((1, 1, 28, 28), np.float32)
WRONG = {
    "another name": (tensor(X, name="images"), "no input 'images'; it takes 'input'"),
    "another type": (tensor(X, datatype="FP64"), "takes FP32, not FP64"),
    "an unknown type": (tensor(X, datatype="FLOAT"), "takes FP32, not FLOAT"),
    "another shape": (tensor(X, shape=[1, 28, 28]), "takes shape [-1, 1, 28, 28] (-1: any size), not [1, 28, 28]"),
    "an empty batch": (tensor(X, shape=[0, 1, 28, 28], data=[]), "not [0, 1, 28, 28]"),
    "a negative size": (tensor(X, shape=[-1, 1, 28, 28]), "'inputs.0.shape.0' is wrong"),
    "a shape in words": (tensor(X, shape=["1", 1, 28, 28]), "'inputs.0.shape.0' is wrong"),
    "too few values": (tensor(X, data=[0.0] * 783), "has 783 values; its shape [1, 1, 28, 28] takes 784"),
    "words": (tensor(X, data=["a"] * 784), "must be numbers of type FP32"),
    "null": (tensor(X, data=[None] * 784), "must be numbers of type FP32"),
    "truth values": (tensor(X, data=[True] * 784), "must be numbers of type FP32"),
    "a ragged list": (tensor(X, data=[[1.0], [1.0, 2.0]]), "ragged"),
    "nested otherwise": (tensor(X, data=[[0.0] * 392] * 2), "nested as [2, 392]"),
    "no data": ({key: value for key, value in tensor(X).items() if key != "data"}, "neither 'data' nor"),
    "too large a number": (tensor(X, data=[1e39] * 784), "NaN or infinity"),
    "binary that is not there": (tensor(X, parameters={"binary_data_size": 9}), "announces 9 bytes; 0 are left"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_input(server, wrong):
    given, part = WRONG[wrong]
    refused(post(server, {"inputs": [given]}), 400, part)


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"inputs": [{"data": [NaN]}]}', "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "'inputs' is wrong"),
        (b'{"inputs": []}', "'inputs' is wrong"),
        ({"inputs": [tensor(X), tensor(X)]}, "given twice"),
        ({"inputs": [tensor(X)], "outputs": [{"name": "logits"}]}, "no output 'logits'; it gives 'probabilities'"),
        ({"id": 7, "inputs": [tensor(X)]}, "'id' is wrong"),
    ],
)
def test_a_wrong_request(server, body, part):
    refused(post(server, body), 400, part)


def test_wrong_binary(server):
    about = {"inputs": [{**tensor(X), "parameters": {"binary_data_size": 3136}}]}
    del about["inputs"][0]["data"]
    header = json.dumps(about).encode()
    length = {"Inference-Header-Content-Length": str(len(header))}
    nan = np.full_like(X, np.nan).tobytes()
    refused(post(server, header + nan, headers=length), 400, "NaN or infinity")
    refused(post(server, header + nan[:-4], headers=length), 400, "announces 3136 bytes; 3132 are left")
    refused(post(server, header + X.tobytes() + b"more", headers=length), 400, "ends with 4 bytes")
    for nonsense in ("99999", "-1", "many", "9" * 5000):
        refused(post(server, header, headers={"Inference-Header-Content-Length": nonsense}), 400, "Content-Length")


def test_an_unknown_model_or_version(server):
    body = {"inputs": [tensor(X)]}
    refused(post(server, body, "v2/models/cats/infer"), 404, "no model 'cats' here; this app's is 'digits'")
    refused(post(server, body, "v2/models/digits/versions/9/infer"), 404, "no version '9' here; it serves '3'")
    refused(httpx.get(f"{server}v2/models/cats"), 404, "cats")
    refused(httpx.get(f"{server}v2/models/digits/versions/9/ready"), 404, "9")


def test_too_large_a_body(server, monkeypatch):
    monkeypatch.setattr(endpoint, "LARGEST_BODY", 1000)
    refused(post(server, {"inputs": [tensor(X)]}), 413, "larger than")

    def parts():
        yield b"x" * 600
        yield b"x" * 600

    refused(httpx.post(f"{server}v2/models/digits/infer", content=parts()), 413, "larger than")


def test_a_compressed_body(server):
    refused(post(server, b"..", headers={"Content-Encoding": "gzip"}), 415, "Compressed")


# Batching ---------------------------------------------------------------------------------------------------


class Counting:
    """A model that counts its runs; rows that hold 13 make it fail."""

    def __init__(self, model):
        self.inputs, self.outputs, self.batches = model.inputs, model.outputs, True
        self.sizes = []
        self._model = model

    def run(self, inputs):
        self.sizes.append(len(inputs["input"]))
        if (inputs["input"] == 13).any():
            raise ValueError("thirteen")
        return self._model.run(inputs)


async def test_waiting_requests_run_together_and_each_gets_its_own(model, x):
    counting = Counting(model)
    batcher = batching.Batcher(counting)
    many = [np.full((1 + i % 3, 1, 28, 28), i / 40, np.float32) for i in range(40)]
    answers = await asyncio.gather(*(batcher.answer({"input": each}) for each in many))
    for given, answer in zip(many, answers, strict=True):
        np.testing.assert_allclose(answer["probabilities"], model.run({"input": given})["probabilities"], atol=1e-6)
    assert sum(counting.sizes) == sum(len(each) for each in many)
    assert len(counting.sizes) < 10
    assert max(counting.sizes) <= batching.LARGEST_BATCH
    batcher.close()


async def test_one_bad_request_fails_alone(model, x):
    batcher = batching.Batcher(Counting(model))
    bad = np.full((1, 1, 28, 28), 13, np.float32)
    answers = await asyncio.gather(
        *(batcher.answer({"input": each}) for each in (x, x, bad, x)), return_exceptions=True
    )
    assert [isinstance(answer, ValueError) for answer in answers] == [False, False, True, False]
    batcher.close()


async def test_a_large_request_does_not_hold_up_the_others(model):
    counting = Counting(model)
    batcher = batching.Batcher(counting, largest_batch=8)
    order = []

    async def ask(name, rows):
        await batcher.answer({"input": np.zeros((rows, 1, 28, 28), np.float32)})
        order.append(name)

    await asyncio.gather(ask("large", 80), *(ask(f"small {i}", 1) for i in range(5)))
    assert order[-1] == "large"
    batcher.close()


async def test_too_many_waiting_requests_are_refused(model, x):
    batcher = batching.Batcher(Counting(model), longest_queue=2)
    answers = await asyncio.gather(*(batcher.answer({"input": x}) for _ in range(5)), return_exceptions=True)
    refusals = [answer for answer in answers if isinstance(answer, Exception)]
    assert {refusal.status for refusal in refusals} == {503}
    assert 0 < len(refusals) < 5
    batcher.close()


def test_a_model_with_a_fixed_batch_is_served_one_by_one(tmp_path):
    (tmp_path / "model.onnx").write_bytes(digits_model(batch=1))
    fixed = OnnxModel(tmp_path / "model.onnx")
    assert not fixed.batches
    with running(Starlette(routes=[*Endpoint(fixed, "digits", "1").routes()])) as port:
        server = f"http://127.0.0.1:{port}/"
        assert post(server, {"inputs": [tensor(X)]}).status_code == 200
        two = np.zeros((2, 1, 28, 28), np.float32)
        refused(post(server, {"inputs": [tensor(two)]}), 400, "takes shape [1, 1, 28, 28]")


def test_the_client_shows_its_servers_own_token_to_its_own_hub_only(monkeypatch):
    def ready(request):
        heard.append(request.headers.get("Authorization"))
        return Response()

    heard = []
    app = Starlette(routes=[Route("/user/app-digits/v2/models/digits/ready", ready)])
    with running(app) as own, running(app) as foreign:
        variables = ("PUBLIC_URL", "POOL_URL", "GATEWAY_URL", "APPS_URL")
        for name in (*(f"ARMILLARY_{name}" for name in variables), "JUPYTERHUB_API_URL", "MLFLOW_TRACKING_URI"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{own}")
        monkeypatch.setenv("JUPYTERHUB_USER", "alice")
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret")
        for port in (own, foreign):
            assert Client(f"http://127.0.0.1:{port}{PREFIX}v2/models/digits").ready()
    assert heard == ["Bearer secret", None]
