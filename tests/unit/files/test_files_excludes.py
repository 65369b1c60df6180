from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projecthub.errors import InvalidArgument
from projecthub.files.excludes import MAX_CHARACTERS, MAX_PATTERN_CHARACTERS, Excludes


def match(pattern: str, path: str) -> bool:
    return Excludes([pattern]).match(path.rstrip("/"), is_directory=path.endswith("/"))


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("a", ["a", "x/a", "a/", "x/y/a"], ["ab", "ba", "a/b", "A"]),
        ("/a", ["a", "a/"], ["x/a", "ab"]),
        ("a/", ["a/", "x/a/"], ["a", "x/a"]),
        ("a/b", ["a/b", "x/a/b"], ["b", "a/x/b", "xa/b"]),
        ("/a/b", ["a/b"], ["x/a/b"]),
        ("*.pyc", ["a.pyc", "x/.pyc"], ["a.py", "a.pyc.x"]),
        ("a*", ["a", "ab", "x/abc"], ["ba"]),
        ("/*", ["a", "b/"], ["a/b"]),
        ("a/*/b", ["a/x/b"], ["a/b", "a/x/y/b"]),
        ("a/**/b", ["a/x/b", "a/x/y/b"], ["a/b"]),
        ("a**b", ["ab", "a/b", "axx/yb", "z/a/b"], ["a/bc", "xa/b"]),
        ("**b*c", ["b/bxc", "bc"], ["b/x/c", "b/c"]),
        ("/a/***", ["a/"], ["a", "ab", "x/a/"]),
        ("?", ["a", "x/b", "\u00e4"], ["ab"]),
        ("a?b", ["axb"], ["a/b", "ab"]),
        ("[ab]", ["a", "b"], ["c", "ab"]),
        ("[!ab]", ["c"], ["a", "b"]),
        ("[^a-c]x", ["dx"], ["bx"]),
        ("[]]", ["]"], ["["]),
        ("[!]]", ["["], ["]"]),
        ("[a", ["[a"], ["a"]),
        ("[z-a]", [], ["a", "z", "-"]),
        ("[!z-a]", ["q"], ["qq"]),
        ("x[/]y", [], ["x/y"]),
        ("[[:&&~~||--]", ["[", "&", "~", "|"], ["q"]),
        ("\\*", ["*"], ["a", "\\*"]),
        ("a\\", ["a\\"], ["a"]),
        ("a.b", ["a.b"], ["axb"]),
        ("a\nb", ["a\nb"], ["a"]),
        ("", [], ["a", "a/"]),
        ("/", [], ["a", "a/"]),
    ],
)
def test_patterns(pattern: str, matches: list[str], others: list[str]) -> None:
    assert [path for path in matches if not match(pattern, path)] == []
    assert [path for path in others if match(pattern, path)] == []


def model(pattern: str, path: str) -> bool:
    """What the wildcards mean, as simply as it can be said."""
    if not pattern:
        return not path
    if pattern.startswith("**"):
        rest = pattern.lstrip("*")
        return any(model(rest, path[at:]) for at in range(len(path) + 1))
    if pattern[0] == "*":
        stretch = len(path.split("/")[0])
        return any(model(pattern[1:], path[at:]) for at in range(stretch + 1))
    return (
        bool(path)
        and (pattern[0] == path[0] or (pattern[0] == "?" and path[0] != "/"))
        and model(pattern[1:], path[1:])
    )


@given(
    pattern=st.text("ab*?/", min_size=1, max_size=8).filter(lambda text: not text.endswith(("/", "/***"))),
    path=st.text("ab/", min_size=1, max_size=8),
)
def test_wildcards_mean_what_they_say(pattern: str, path: str) -> None:
    body = pattern.lstrip("/")
    tails = [path] + [path[at + 1 :] for at, char in enumerate(path) if char == "/"]
    expected = any(model(body, tail) for tail in (tails[:1] if pattern.startswith("/") else tails))
    assert Excludes([pattern]).match(path, is_directory=False) is expected


@given(pattern=st.text("ab[]!^-*\\/~&|", max_size=12), path=st.text("ab[]-/", max_size=8))
def test_no_pattern_is_an_error(pattern: str, path: str) -> None:
    Excludes([pattern]).match(path, is_directory=True)


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 50 + "b", "**a" * 50 + "b", "*a**" * 30 + "b", "a*/" * 30 + "b", "?*" * 60 + "b", "**/" + "*/" * 300 + "b"],
)
def test_no_pattern_takes_long(pattern: str) -> None:
    began = time.process_time()
    for path in ("/".join(["a"] * 2047), "/".join(["a"] * 1000 + ["a" * 255]), "a" * 255):
        assert not Excludes([pattern]).match(path, is_directory=False)
    assert time.process_time() - began < 2


def test_limits() -> None:
    Excludes(["a" * MAX_PATTERN_CHARACTERS] * (MAX_CHARACTERS // MAX_PATTERN_CHARACTERS))
    with pytest.raises(InvalidArgument, match="65537 characters"):
        Excludes(["a"] * (MAX_CHARACTERS + 1))
    with pytest.raises(InvalidArgument, match=r"'a{20}\.\.\.' has 1025 characters"):
        Excludes(["a" * (MAX_PATTERN_CHARACTERS + 1)])
