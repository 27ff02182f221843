"""Object stores of this machine: fsspec's own, in memory, and moto's server, which speaks S3."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import s3fs
from fsspec.implementations.memory import MemoryFileSystem
from moto.server import ThreadedMotoServer


@contextmanager
def memory_store() -> Iterator[MemoryFileSystem]:
    """Give a store with one empty bucket, ``bucket``, at ``memory://`` addresses."""
    store = MemoryFileSystem()
    store.mkdir("bucket")
    yield store
    store.rm("bucket", recursive=True)


@contextmanager
def s3_store() -> Iterator[s3fs.S3FileSystem]:
    """Give a store with one empty bucket, ``bucket``; while it is there, ``s3://`` addresses lead to it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "anybody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "may")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        try:
            store = s3fs.S3FileSystem()
            store.mkdir("bucket")
            yield store
            store.rm("bucket", recursive=True)
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            server.stop()


#: By the protocol of their addresses.
OBJECT_STORES = {"memory": memory_store, "s3": s3_store}
