"""The native API under `/api/v1`: resources, real status codes, problems of RFC 9457, streams.

The same services as behind the calls of the wire; a router module for each noun.
"""

from projecthub.api.native.application import PREFIX, make_native_app

__all__ = ["PREFIX", "make_native_app"]
