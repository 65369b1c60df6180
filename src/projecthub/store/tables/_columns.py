"""What all tables are made of. See `projecthub.store.tables`."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Dialect, ForeignKey, Integer, MetaData, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB

from projecthub.wire.units import from_ms, to_ms


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime, kept as whole milliseconds since the epoch."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To milliseconds."""
        return None if value is None else to_ms(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[int | None], datetime | None]:
        """From milliseconds. A plain function: `process_result_value` would be called through another one."""
        return _moment


def _moment(value: int | None) -> datetime | None:
    return None if value is None else from_ms(value)


KEY = Text().with_variant(Text(collation="C"), "postgresql")
"""Ids and other texts that compare byte by byte; ``lower`` touches their ASCII letters only, as in SQLite."""

VALUE = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""A JSON value; None is the database's null."""

SERIAL = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database allots. SQLite wants the word INTEGER for that."""


def dump_json(value: object) -> str:
    """JSON as both databases take it: without NaN, and with lone surrogates left for the driver to refuse.

    Raises:
        ValueError: The value holds a number that JSON cannot write.
    """
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


def flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, default=False)


def reference(name: str, target: str, **options: Any) -> Column[str]:
    return Column(name, KEY, ForeignKey(target), **options)
