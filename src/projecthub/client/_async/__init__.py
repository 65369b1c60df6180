"""One side of the client: ``_async`` is written by hand, ``_sync`` from it by ``tools/unasync.py``."""
