"""The process that turns one network into ONNX: ``python -m armillary.publishing.exporter FOLDER``.

The folder holds what `armillary.publishing.export_process` wrote; the graph goes there too, or why there is none.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import cloudpickle
from armillary_kernels.processes import die_with_parent

#: Files of the folder: the network as it comes, the graph, and why there is none.
START, GRAPH, FAILURE = "start.pkl", "model.onnx", "failure.json"

#: Exit status of an exporter that says why it failed; any other than this and 0 is a crash.
REFUSED = 3


def export(folder: Path) -> None:
    """Rebuild the network and write it as ONNX."""
    from armillary.training.frameworks import LAYOUTS, blank_batch, network_format

    start: dict[str, Any] = cloudpickle.loads((folder / START).read_bytes())
    framework, spec = start["framework"], start["input"]
    network = network_format(framework).unpack(start["network"], blank_batch(spec, framework))
    shape = spec.prepared_shape(LAYOUTS[framework])
    if framework == "torch":
        from armillary.publishing.torch_export import export_torch

        export_torch(network, shape, folder / GRAPH)
    else:
        from armillary.publishing.keras_export import export_keras

        export_keras(network, shape, folder / GRAPH)


def main(folder: Path) -> int:
    """Export; return the exit status."""
    die_with_parent()
    try:
        export(folder)
    except Exception as error:  # each exporter has its own exceptions, none of them public
        lines = str(error).strip().splitlines() or [type(error).__name__]
        failure = {"reason": lines[0], "traceback": "".join(traceback.format_exception(error))}
        (folder / FAILURE).write_text(json.dumps(failure), encoding="utf-8")
        return REFUSED
    return 0


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: the graph is written, and a framework that crashes while it is unloaded does not matter.
    os._exit(status)
