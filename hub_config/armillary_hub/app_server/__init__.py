"""The server of one app: signs visitors in, answers ``/v2`` with ONNX Runtime, passes the rest to its Voilà page."""
