"""Copies of random trees over random trees, beside a model of what should come of it."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from two_homes import TwoHomes

from projecthub.errors import Conflict
from projecthub.files.excludes import Excludes
from projecthub.files.plans import CopyOptions


@dataclass(frozen=True)
class File:
    content: str
    mtime_s: int


@dataclass(frozen=True)
class Link:
    text: str


@dataclass(frozen=True)
class Fifo:
    pass


Node = Union[File, Link, Fifo, "Tree"]
Tree = dict[str, Node]

LEAVES = st.one_of(
    st.builds(File, st.sampled_from(["", "x", "y", "zz"]), st.integers(1, 3)),
    st.builds(Link, st.sampled_from(["a", "../b", "/etc"])),
    st.just(Fifo()),
)


def trees(names: str) -> st.SearchStrategy[Tree]:
    keys = st.sampled_from(names.split())
    return st.dictionaries(
        keys, st.recursive(LEAVES, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=6), max_size=3
    )


OPTIONS = st.builds(
    CopyOptions,
    overwrite_newer=st.booleans(),
    delete_missing=st.booleans(),
    backup=st.booleans(),
    exclude=st.sampled_from([(), ("a",), ("/b/",), ("c/a",), ("**/c",)]),
)


class Model:
    """The outcome, said as plainly as possible; `failed` when something could not get its place."""

    def __init__(self, options: CopyOptions) -> None:
        self.options = options
        self.excludes = Excludes(options.exclude)
        self.failed = False

    def merge(self, source: Tree, target: Tree, path: str = "") -> None:
        for name, node in source.items():
            if not self.is_excluded(path, name, node) and not isinstance(node, Fifo):
                self.put(node, target, name, path)
        if self.options.delete_missing:
            for name in [name for name in target if name not in source]:
                self.delete(target, name, path)

    def put(self, node: Node, target: Tree, name: str, path: str) -> None:
        there = target.get(name)
        if isinstance(node, dict):
            if isinstance(there, dict):
                self.merge(node, there, f"{path}{name}/")
                return
            if there is not None and not self.back_up(target, name):
                return
            target[name] = new = {}
            self.merge(node, new, f"{path}{name}/")
            return
        if isinstance(there, dict):
            if there and self.options.delete_missing:
                self.delete(target, name, path, whatever=True)
            if target.get(name):
                self.failed = True
                return
        elif node == there or self.stays(node, there) or (there is not None and not self.back_up(target, name)):
            return
        target[name] = node

    def stays(self, node: Node, there: Node | None) -> bool:
        if not isinstance(node, File) or not isinstance(there, File):
            return False
        if node.mtime_s == there.mtime_s and len(node.content) == len(there.content):
            return True
        return there.mtime_s > node.mtime_s and not self.options.overwrite_newer

    def back_up(self, target: Tree, name: str) -> bool:
        if self.options.backup:
            if isinstance(target.get(f"{name}~"), dict):
                self.failed = True
                return False
            target[f"{name}~"] = target[name]
        return True

    def delete(self, target: Tree, name: str, path: str, *, whatever: bool = False) -> None:
        node = target[name]
        if not whatever and (self.is_excluded(path, name, node) or (self.options.backup and name.endswith("~"))):
            return
        if isinstance(node, dict):
            for inner in list(node):
                self.delete(node, inner, f"{path}{name}/")
            if node:
                return
        elif not self.back_up(target, name):
            return
        del target[name]

    def is_excluded(self, path: str, name: str, node: Node) -> bool:
        return self.excludes.match(path + name, is_directory=isinstance(node, dict))


def plant(directory: Path, tree: Mapping[str, Node]) -> None:
    directory.mkdir(exist_ok=True)
    for name, node in tree.items():
        path = directory / name
        if isinstance(node, dict):
            plant(path, node)
        elif isinstance(node, File):
            path.write_text(node.content)
            os.utime(path, (node.mtime_s, node.mtime_s))
        elif isinstance(node, Link):
            path.symlink_to(node.text)
        else:
            os.mkfifo(path)


def harvest(directory: Path) -> Tree:
    found: Tree = {}
    for path in directory.iterdir():
        if path.is_symlink():
            found[path.name] = Link(os.readlink(path))
        elif path.is_dir():
            found[path.name] = harvest(path)
        elif path.is_file():
            found[path.name] = File(path.read_text(), int(path.stat().st_mtime))
        else:
            found[path.name] = Fifo()
    return found


@settings(max_examples=200, deadline=None)
@given(source=trees("a b c"), target=trees("a b c a~"), options=OPTIONS)
def test_copies_follow_the_model(
    tmp_path_factory: pytest.TempPathFactory, source: Tree, target: Tree, options: CopyOptions
) -> None:
    top = tmp_path_factory.mktemp("model")
    homes = TwoHomes(top / "one" / "home", top / "other" / "home")
    for home, tree in ((homes.one, source), (homes.other, target)):
        home.parent.mkdir()
        plant(home, {"dir": tree})
    model, before = Model(options), copy.deepcopy(target)
    model.merge(source, target)
    wanted = {name: getattr(options, name) for name in ("overwrite_newer", "delete_missing", "backup", "exclude")}
    if model.failed:
        with pytest.raises(Conflict):
            homes.copy("dir", "dir", **wanted)
        target = before
    else:
        homes.copy("dir", "dir", **wanted)
    assert harvest(homes.other) == {"dir": target}
    assert harvest(homes.one) == {"dir": source}
