"""Taking the arguments of a call apart. They come from anybody, so nothing about their types is believed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from projecthub.errors import InvalidArgument
from projecthub.wire.units import plain

_MAX_SHOWN = 60


def show(value: object) -> str:
    """A value as JSON, shortened for an error's text."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _is_text(value: object) -> bool:
    """Whether ``value`` can be handed to the system: a string without NUL and without halves of surrogate pairs."""
    return isinstance(value, str) and "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)


@dataclass(frozen=True, slots=True)
class Options:
    """The object that a method takes as its only argument. Absent and null are the same.

    Attributes:
        method: Name of the method, for error texts.
        values: The object.
    """

    method: str
    values: Mapping[str, object]

    @classmethod
    def of(cls, method: str, arguments: Sequence[object]) -> Options:
        """Take the options from the arguments of a call; none or null mean no options.

        Raises:
            InvalidArgument: The first argument is not an object.
        """
        first = arguments[0] if arguments else None
        if first is None:
            return cls(method, {})
        if not isinstance(first, dict):
            raise InvalidArgument(f"the argument of {method} must be an object with its options, not {show(first)}")
        return cls(method, first)

    def refuse(self, name: str, expected: str) -> InvalidArgument:
        """The error for an option that is not what it has to be."""
        if self.values.get(name) is None:
            return InvalidArgument(f"option '{name}' of {self.method} is missing: give {expected}")
        return InvalidArgument(f"option '{name}' of {self.method} must be {expected}, not {show(self.values[name])}")

    def text(self, name: str) -> str | None:
        """A string that the system can take, or None if absent."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not _is_text(value):
            raise self.refuse(name, "a string without NUL characters or halves of surrogate pairs")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.refuse(name, "true or false")
        return value

    def number(self, name: str, default: float, *, at_most: float) -> float:
        """A number above 0 and not above ``at_most``."""
        value = self.values.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= at_most:
            bound = "" if at_most == math.inf else f" and not above {plain(at_most)}"
            raise self.refuse(name, f"a number above 0{bound}")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of strings; empty if absent."""
        value = self.values.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(_is_text(item) for item in value):
            raise self.refuse(name, "a list of strings without NUL characters or halves of surrogate pairs")
        return value

    def variables(self, name: str) -> dict[str, str]:
        """Names and values of environment variables; numbers become strings; empty if absent."""
        value = self.values.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.refuse(name, "an object of strings")
        found: dict[str, str] = {}
        for variable, content in value.items():
            if isinstance(content, int | float) and not isinstance(content, bool):
                content = json.dumps(content)
            if not variable or "=" in variable or not _is_text(variable) or not _is_text(content):
                raise InvalidArgument(
                    f"option '{name}' of {self.method} must map names without '=' to strings, "
                    f"not {show(variable)} to {show(content)}"
                )
            found[variable] = content
        return found


class WhatToRun(TypedDict):
    """What `what_to_run` finds: a program, or a script for bash, with where it is run and the variables to add."""

    command: str
    args: list[str]
    bash: bool
    directory: str
    environment: dict[str, str]


def what_to_run(options: Options, *, home: str) -> WhatToRun:
    """The options by which commands and jobs say alike what is to be run.

    Raises:
        InvalidArgument: There is no command, or an option is not of its type.

    Source: Wire contract 5.6.
    """
    command = options.text("command")
    if not command or not command.strip():
        raise options.refuse("command", "the program or the script to run, as a string")
    args = options.texts("args")
    return {
        "command": command,
        "args": args,
        "bash": options.flag("bash", False) or (not args and any(character.isspace() for character in command)),
        "directory": str(Path(home, options.text("cwd") or options.text("path") or "")),
        "environment": options.variables("env"),
    }
