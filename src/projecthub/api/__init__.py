"""HTTP in: the two RPC endpoints, who is calling, wire <-> hub."""

from projecthub.api.application import make_app
from projecthub.api.services import Services

__all__ = ["Services", "make_app"]
