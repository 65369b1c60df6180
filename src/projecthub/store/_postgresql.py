"""PostgreSQL, over asyncpg."""

from __future__ import annotations

import os
from typing import Any, Final

from sqlalchemy import Dialect, event, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from projecthub.store._engines import Engines
from projecthub.store.tables import dump_json

_CONNECTIONS: Final = 10
_CONNECT_TIMEOUT_S: Final = 10


def postgresql_engines(url: str) -> Engines:
    """Engines for reading, for glances, and for writing; they share one pool.

    A read sees the state of one moment (REPEATABLE READ, READ ONLY); a glance is one statement, without the round trips
    of a transaction. A write is READ COMMITTED: what another hub must not overtake is guarded by keys, by the row locks
    of an UPDATE, and by compare-and-set.
    """
    parsed = make_url(url).set(drivername="postgresql+asyncpg")
    if sslmode := parsed.query.get("sslmode"):  # libpq's name of it
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": sslmode})
    writers = create_async_engine(
        parsed,
        pool_size=_CONNECTIONS,
        max_overflow=_CONNECTIONS,
        pool_pre_ping=True,
        json_serializer=dump_json,
        connect_args={
            "timeout": _CONNECT_TIMEOUT_S,
            # Our statements are short: compiling them to machine code never pays.
            "server_settings": {"application_name": "projecthub", "jit": "off"},
        },
    )
    event.listen(writers.sync_engine, "do_connect", _connect)
    readers = writers.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    glancers = writers.execution_options(isolation_level="AUTOCOMMIT")
    return Engines(readers=readers, glancers=glancers, writers=writers)


def _connect(dialect: Dialect, record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Connect; the system's errors become the driver's, as with every later statement."""
    try:
        return dialect.connect(*arguments, **options)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "no answer in time"
        raise dialect.loaded_dbapi.InterfaceError(f"no connection: {reason}") from error
