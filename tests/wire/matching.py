"""What an expected reply may say, and whether a reply is one.

An expected value is JSON and matches itself, with these exceptions:

* ``{name}`` in a text stands for a name that the recording knows (``{alice}``, ``{p1}``), or for one of `PATTERNS`.
  A text that is nothing but ``{ms}``, ``{int}``, ``{number}``, ``{bool}`` or ``{any}`` matches a value of that kind.
* An object with the key ``...`` may hold more than it names.
* ``{"each": X}`` under the key ``{list}`` matches a list whose items all match; ``{"has": [X, ...]}`` one that has an
  item for every X; ``{"lacks": [X, ...]}`` one that has none for any. They can stand together.
* ``{"{words}": ["a", "b"]}`` matches a text that holds all of these, and is a sentence for people.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PATTERNS: Mapping[str, str] = {
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "iso": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "secret": r"sk-[0-9A-Za-z]{40,}",
    "trunc": r"sk-\.\.\.[0-9A-Za-z]{6}",
    "text": r"[\s\S]+",
    "path": r"/[^\s']*",
    "sha1": r"[0-9a-f]{40}",
    "digits": r"\d+",
}

# Nothing of these may stand in an answer: they show how the server is made, or that it failed. What a project sees as
# its own home may, and what lies outside of it by the wire's name for that.
LEAKS = re.compile(
    r"Traceback|object at 0x|site-packages|(?<!/\.smc)/root/|/home/(?!user/)[a-z]+/|\.py\b|sqlalchemy|pydantic|"
    r"TypeError|KeyError|ValueError|undefined \(reading|NoneType|the hub made a mistake|"
    r"the project server made a mistake",
    re.IGNORECASE,
)

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_FIRST_MS = 1_700_000_000_000
_LAST_MS = 4_000_000_000_000


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_KINDS: Mapping[str, Any] = {
    "{any}": lambda value: True,
    "{bool}": lambda value: isinstance(value, bool),
    "{int}": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "{number}": _is_number,
    "{ms}": lambda value: _is_number(value) and _FIRST_MS < value < _LAST_MS,
}


def mismatch(expected: Any, actual: Any, names: Mapping[str, str], at: str = "reply") -> str | None:
    """Why ``actual`` is not what is expected; None if it is.

    Args:
        expected: As the module says.
        actual: JSON.
        names: What the recording's names stand for.
        at: Where in the reply this is.
    """
    if isinstance(expected, str):
        return _text_mismatch(expected, actual, names, at)
    if isinstance(expected, list):
        return _list_mismatch(expected, actual, names, at)
    if isinstance(expected, dict):
        if "{words}" in expected:
            return _words_mismatch(expected["{words}"], actual, names, at)
        if "{list}" in expected:
            return _items_mismatch(expected["{list}"], actual, names, at)
        return _object_mismatch(expected, actual, names, at)
    same = type(expected) is type(actual) and expected == actual
    return None if same else f"{at} is {actual!r}, expected {expected!r}"


def _text_mismatch(expected: str, actual: Any, names: Mapping[str, str], at: str) -> str | None:
    if expected in _KINDS:
        return None if _KINDS[expected](actual) else f"{at} is {actual!r}, expected {expected}"
    if not isinstance(actual, str) or not re.fullmatch(_pattern(expected, names), actual):
        return f"{at} is {actual!r}, expected {expected!r}"
    return None


def _pattern(expected: str, names: Mapping[str, str]) -> str:
    pattern, end = "", 0
    for placeholder in _PLACEHOLDER.finditer(expected):
        name = placeholder[1]
        pattern += re.escape(expected[end : placeholder.start()])
        pattern += PATTERNS[name] if name in PATTERNS else re.escape(names[name])
        end = placeholder.end()
    return pattern + re.escape(expected[end:])


def _list_mismatch(expected: list[Any], actual: Any, names: Mapping[str, str], at: str) -> str | None:
    if not isinstance(actual, list) or len(actual) != len(expected):
        return f"{at} is {actual!r}, expected a list of {len(expected)}"
    found = (mismatch(e, a, names, f"{at}[{i}]") for i, (e, a) in enumerate(zip(expected, actual, strict=True)))
    return next((one for one in found if one), None)


def _items_mismatch(rules: dict[str, Any], actual: Any, names: Mapping[str, str], at: str) -> str | None:
    if not isinstance(actual, list):
        return f"{at} is {actual!r}, expected a list"
    if "each" in rules:
        for index, item in enumerate(actual):
            if problem := mismatch(rules["each"], item, names, f"{at}[{index}]"):
                return problem
    for wanted in rules.get("has", ()):
        if all(mismatch(wanted, item, names) for item in actual):
            return f"{at} is {actual!r} and has no {wanted!r}"
    for unwanted in rules.get("lacks", ()):
        if not all(mismatch(unwanted, item, names) for item in actual):
            return f"{at} is {actual!r} and has {unwanted!r}"
    return None


def _object_mismatch(expected: dict[str, Any], actual: Any, names: Mapping[str, str], at: str) -> str | None:
    if not isinstance(actual, dict):
        return f"{at} is {actual!r}, expected an object"
    wanted = {fill(key, names): value for key, value in expected.items() if key != "..."}
    if missing := wanted.keys() - actual.keys():
        return f"{at} is {actual!r} and lacks {sorted(missing)}"
    if "..." not in expected and (surplus := actual.keys() - wanted.keys()):
        return f"{at} has {sorted(surplus)} beside {sorted(wanted)}"
    found = (mismatch(value, actual[key], names, f"{at}.{key}") for key, value in wanted.items())
    return next((one for one in found if one), None)


def _words_mismatch(words: list[str], actual: Any, names: Mapping[str, str], at: str) -> str | None:
    if not isinstance(actual, str):
        return f"{at} is {actual!r}, expected a sentence"
    missing = [word for word in words if fill(word, names) not in actual]
    return f"{at} is {actual!r} and lacks {missing}" if missing else None


def fill(value: Any, names: Mapping[str, str], kept: tuple[str, ...] = ()) -> Any:
    """Put in what names stand for, in texts and keys, at any depth; those of ``kept`` stay as they are."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda p: p[0] if p[1] in kept else names[p[1]], value)
    if isinstance(value, list):
        return [fill(item, names, kept) for item in value]
    if isinstance(value, dict):
        return {fill(key, names, kept): fill(item, names, kept) for key, item in value.items()}
    return value
