"""Requests per second of an app's endpoint : bare ONNX Runtime in a loop, on the same model and machine.

    python benchmarks/endpoint.py [--seconds 3] [--rounds 5]

The model is a CNN of some 420 KB on 28×28 pictures, one picture a request. Bare is `session.run` in this process with
one thread; the endpoint runs in a process of its own, and its client here speaks HTTP over raw sockets, so that the
client costs little. Rounds alternate, and the medians are compared.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

PICTURE = np.random.default_rng(0).random((1, 1, 28, 28), np.float32)
SERVER = """
import sys
import uvicorn
from pathlib import Path
from starlette.applications import Starlette
from armillary_hub.app_server.endpoint import Endpoint
from armillary_hub.app_server.model import OnnxModel
from armillary_hub.web.server import uvicorn_options
endpoint = Endpoint(OnnxModel(Path(sys.argv[1])), "cnn", "1")
uvicorn.run(Starlette(routes=[*endpoint.routes()]), uds=sys.argv[2], **uvicorn_options())
"""


def write_model(path: Path) -> None:
    """Write a CNN: two convolutions with pooling, two dense layers."""
    random = np.random.default_rng(0)
    shapes = {"c1": (16, 1, 3, 3), "c2": (32, 16, 3, 3), "d1": (1568, 64), "d2": (64, 10)}
    weights = [numpy_helper.from_array(random.normal(0, 0.1, s).astype(np.float32), n) for n, s in shapes.items()]
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["input", "c1"], ["a"], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], **pool),
        helper.make_node("Conv", ["c", "c2"], ["d"], pads=[1] * 4),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("MaxPool", ["e"], ["f"], **pool),
        helper.make_node("Flatten", ["f"], ["g"]),
        helper.make_node("MatMul", ["g", "d1"], ["h"]),
        helper.make_node("Relu", ["h"], ["i"]),
        helper.make_node("MatMul", ["i", "d2"], ["j"]),
        helper.make_node("Softmax", ["j"], ["probabilities"], axis=1),
    ]
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 28, 28])
    gives = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])
    model = helper.make_model(
        helper.make_graph(nodes, "cnn", [given], [gives], weights), opset_imports=[helper.make_opsetid("", 20)]
    )
    model.ir_version = 10
    onnx.save(model, path)


def bare_rate(session: onnxruntime.InferenceSession, seconds: float) -> float:
    """Return runs per second of the bare session."""
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        session.run(None, {"input": PICTURE})
        done += 1
    return done / (time.perf_counter() - start)


def requests() -> dict[str, bytes]:
    """Return one inference request in JSON and one in binary, as bytes on the wire."""
    about = {"name": "input", "datatype": "FP32", "shape": list(PICTURE.shape)}
    as_json = json.dumps({"inputs": [{**about, "data": PICTURE.reshape(-1).tolist()}]}).encode()
    raw = PICTURE.tobytes()
    header = json.dumps(
        {
            "inputs": [{**about, "parameters": {"binary_data_size": len(raw)}}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    start = "POST /v2/models/cnn/infer HTTP/1.1\r\nHost: x\r\n"
    length = f"Inference-Header-Content-Length: {len(header)}\r\n"
    return {
        "JSON": f"{start}Content-Length: {len(as_json)}\r\n\r\n".encode() + as_json,
        "binary": f"{start}{length}Content-Length: {len(header) + len(raw)}\r\n\r\n".encode() + header + raw,
    }


async def ask(path: str, request: bytes, until: float) -> int:
    """Send a request again and again over one connection; return how many were answered."""
    reader, writer = await asyncio.open_unix_connection(path)
    done = 0
    while time.perf_counter() < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"The endpoint refused: {head!r}")
        length = int(head.lower().split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        done += 1
    writer.close()
    return done


async def endpoint_rate(path: str, request: bytes, connections: int, seconds: float) -> float:
    """Return requests per second over so many connections."""
    start = time.perf_counter()
    done = await asyncio.gather(*(ask(path, request, start + seconds) for _ in range(connections)))
    return sum(done) / (time.perf_counter() - start)


def wait_for(path: str) -> None:
    """Wait until the server listens."""
    deadline = time.monotonic() + 60
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return


def main() -> None:
    """Run the rounds and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model, path = Path(folder) / "model.onnx", f"{folder}/s"
        write_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model, options)
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(model), path], stderr=subprocess.DEVNULL)
        try:
            wait_for(path)
            compare(session, path, given.seconds, given.rounds)
        finally:
            server.terminate()
            server.wait()


def compare(session: onnxruntime.InferenceSession, path: str, seconds: float, rounds: int) -> None:
    """Print one line for each way of asking."""
    cases = [(name, request, n) for name, request in requests().items() for n in (1, 32)]
    rates: dict[tuple[str, int], list[float]] = {(name, n): [] for name, _, n in cases}
    bare: list[float] = []
    for _ in range(rounds):
        bare.append(bare_rate(session, seconds))
        for name, request, n in cases:
            rates[name, n].append(asyncio.run(endpoint_rate(path, request, n, seconds)))
    base = statistics.median(bare)
    print(f"bare ONNX Runtime, 1 thread, {os.cpu_count()} processors: {base:,.0f} pictures/s")
    for (name, n), each in rates.items():
        rate = statistics.median(each)
        print(f"endpoint, {name}, {n:2} connections: {rate:,.0f} requests/s; ratio to bare {rate / base:.3f}")


if __name__ == "__main__":
    main()
