"""From the wire's ``args`` to the dataclass of a method, with a plain sentence for whatever does not fit.

Source: Wire contract 0 (malformed calls), 1.1.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from projecthub.errors import InvalidArgument
from projecthub.wire.methods import Form, Method
from projecthub.wire.shapes import NoArguments

_CONFIG: Final = ConfigDict(coerce_numbers_to_str=True, extra="ignore")

_EXPECTED: Final = {
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "list_type": "a list",
    "dict_type": "an object",
}


@cache
def _adapter(arguments: type) -> TypeAdapter[Any]:
    # The dataclasses stand in `wire`, which knows no pydantic; how they are read is decided here.
    if "__pydantic_config__" not in vars(arguments):
        arguments.__pydantic_config__ = _CONFIG  # type: ignore[attr-defined]
    return TypeAdapter(arguments)


def parse(method: Method, args: list[Any]) -> Any:
    """The arguments of a method.

    Args:
        method: Which method.
        args: The ``args`` of the body; options that the method does not know are ignored.

    Raises:
        InvalidArgument: An argument has the wrong kind; the text names it, what was given and what is expected.
    """
    if method.arguments is NoArguments:
        return NoArguments()
    first = args[0] if args else None
    if method.form is Form.LIST:
        options: Any = {} if first is None else {next(iter(method.arguments.__dataclass_fields__)): first}  # type: ignore[attr-defined]
    else:
        options = {} if first is None else first
        if not isinstance(options, dict):
            raise InvalidArgument(
                f"the first argument of {method.name} is {_shown(options)}; give an object with its options"
            )
        if method.form is Form.OPTS:
            options = options.get("opts")
            if not isinstance(options, dict):
                raise InvalidArgument(
                    f"argument 'opts' of {method.name} is {_shown(options)}; give an object with its options"
                )
    # What is null was not given: other clients leave such arguments out.
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return _adapter(method.arguments).validate_python(given)
    except ValidationError as error:
        raise InvalidArgument(_sentence(method, given, error)) from error


def _sentence(method: Method, given: dict[str, Any], error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    name = str(problem["loc"][0]) if problem["loc"] else "?"
    if problem["type"] in ("missing", "missing_keyword_only_argument"):
        return f"argument '{name}' of {method.name} is missing"
    kinds = {_EXPECTED.get(one["type"]) for one in error.errors(include_url=False) if one["loc"][:1] == (name,)}
    expected = " or ".join(sorted(kind for kind in kinds if kind)) or problem["msg"]
    return f"argument '{name}' of {method.name} is {_shown(given.get(name))}; give {expected}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:97] + "..."
