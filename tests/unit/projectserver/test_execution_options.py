"""The options of `system.exec` come from anybody: each is taken as it is meant, or refused in a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projecthub.errors import InvalidArgument
from projecthub.projectserver.execution import ExecOptions, parse

HOME = "/home/user"
KNOWN = (
    *("command", "args", "bash", "path", "cwd", "timeout", "ulimit_timeout", "err_on_exit", "max_output", "env"),
    *("aggregate", "async_call", "async_get"),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def parsed(**options: Any) -> ExecOptions:
    return parse([{"command": "true", **options}], home=HOME)


def refusal(*arguments: object) -> str:
    with pytest.raises(InvalidArgument) as caught:
        parse(arguments, home=HOME)
    return caught.value.message


def test_defaults() -> None:
    assert parsed() == ExecOptions(
        command="true",
        args=[],
        bash=False,
        directory=HOME,
        timeout_s=60.0,
        cpu_limit_s=60,
        err_on_exit=True,
        max_output=10 * 1024 * 1024,
        environment={},
    )


@pytest.mark.parametrize(
    ("command", "args", "bash", "expected"),
    [
        ("ls", [], False, False),
        ("ls -l", [], False, True),
        ("ls -l", ["x"], False, False),
        ("ls\t-l", None, None, True),
        ("ls", ["x"], True, True),
        ("my program", ["x"], False, False),
    ],
)
def test_white_space_switches_to_bash(command: str, args: object, bash: object, expected: bool) -> None:
    assert parsed(command=command, args=args, bash=bash).bash is expected


@pytest.mark.parametrize(
    ("options", "directory"),
    [
        ({}, "/home/user"),
        ({"path": "a/b"}, "/home/user/a/b"),
        ({"path": "/etc"}, "/etc"),
        ({"path": "a", "cwd": "/etc"}, "/etc"),
        ({"path": "", "cwd": ""}, "/home/user"),
    ],
)
def test_cwd_wins_over_path(options: dict[str, str], directory: str) -> None:
    assert parsed(**options).directory == directory


def test_unknown_options_are_ignored() -> None:
    assert parsed(verbose=True, compute_server_id=0, whatever=[1]) == parsed()


def test_limits() -> None:
    assert parsed(timeout=1.2).cpu_limit_s == 2
    assert parsed(timeout=1.2, ulimit_timeout=False).cpu_limit_s is None
    assert parsed(max_output=10**400).max_output == 10 * 1024 * 1024
    assert parsed(max_output=0.5).max_output == 1
    assert parsed(env={"N": 1, "F": 1.5, "S": "x"}).environment == {"N": "1", "F": "1.5", "S": "x"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "option 'command' of system.exec is missing: give the program or the script to run, as a string"),
        (
            {"command": " "},
            "option 'command' of system.exec must be the program or the script to run, as a string, not \" \"",
        ),
        ({"command": 5}, "option 'command' of system.exec must be a string without NUL"),
        ({"command": "a\0b"}, "option 'command' of system.exec must be a string without NUL"),
        ({"command": "a", "args": "b"}, "option 'args' of system.exec must be a list of strings"),
        ({"command": "a", "args": ["b", 1]}, "option 'args' of system.exec must be a list of strings"),
        ({"command": "a", "args": ["\ud800"]}, "option 'args' of system.exec must be a list of strings"),
        ({"command": "a", "bash": "yes"}, "option 'bash' of system.exec must be true or false, not \"yes\""),
        ({"command": "a", "timeout": 0}, "option 'timeout' of system.exec must be a number above 0"),
        ({"command": "a", "timeout": True}, "option 'timeout' of system.exec must be a number above 0"),
        ({"command": "a", "timeout": float("nan")}, "option 'timeout' of system.exec must be a number above 0"),
        ({"command": "a", "timeout": 10**400}, "option 'timeout' of system.exec must be a number above 0"),
        ({"command": "a", "max_output": -1}, "option 'max_output' of system.exec must be a number above 0"),
        ({"command": "a", "env": []}, "option 'env' of system.exec must be an object of strings, not []"),
        ({"command": "a", "env": {"A=": "x"}}, "option 'env' of system.exec must map names without '=' to strings"),
        ({"command": "a", "env": {"A": None}}, "option 'env' of system.exec must map names without '=' to strings"),
        ({"command": "a", "async_call": "yes"}, "option 'async_call' of system.exec must be true or false"),
    ],
)
def test_refusals(options: dict[str, object], text: str) -> None:
    assert refusal(options).startswith(text)


def test_refusals_of_what_is_no_object() -> None:
    assert refusal("ls") == 'the argument of system.exec must be an object with its options, not "ls"'
    assert "is missing" in refusal()
    assert "is missing" in refusal(None)


def test_values_are_shown_short() -> None:
    assert len(refusal({"command": "a", "timeout": "x" * 10_000})) < 250


@given(st.lists(st.dictionaries(st.sampled_from(KNOWN), anything) | anything, max_size=2))
def test_every_argument_is_taken_or_refused(arguments: list[object]) -> None:
    try:
        options = parse(arguments, home=HOME)
    except InvalidArgument as error:
        assert error.message
    else:
        assert options.command.strip()
        assert 0 < options.timeout_s <= 1e9
        assert 1 <= options.max_output <= 10 * 1024 * 1024


def test_bounds_are_told_with_all_their_digits() -> None:
    assert "a number above 0 and not above 1000000000, not" in refusal({"command": "true", "timeout": 2e9})
    assert "a number above 0, not -1" in refusal({"command": "true", "max_output": -1})
