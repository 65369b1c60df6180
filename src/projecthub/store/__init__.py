"""The store: what a hub remembers, in SQLite or PostgreSQL. The only room that knows SQL.

A `Transaction` holds one object a noun; its calls are the only way in.
"""

from projecthub.store.database import Clock, Store, Transaction, open_store

__all__ = ["Clock", "Store", "Transaction", "open_store"]
