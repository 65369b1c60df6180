"""Exports: a home goes out and comes in as it was, always as the same bytes; whoever made the file is not believed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from projecthub.errors import InvalidArgument, LimitError
from projecthub.files import Home, exporting
from projecthub.files.exporting import Export, Exported
from projecthub.files.importing import Importing, Manifest
from projecthub.files.tar_headers import header, padding

NAMES = st.binary(min_size=1, max_size=12).filter(lambda name: not {0, 47} & set(name) and name not in (b".", b".."))
LONG = st.sampled_from([b"n" * 99, b"n" * 100, b"n" * 101, b"\xff" * 255, "ü".encode() * 120])
TIMES = st.integers(-(2**31) * 10**9, (2**33 - 1) * 10**9)
XATTRS = st.dictionaries(st.sampled_from(["user.a", "user.a=b%", "user.%3D"]), st.binary(max_size=50), max_size=2)
Place = tuple[bytes, ...]
FILES = st.builds(
    dict,
    kind=st.just("file"),
    content=st.binary(max_size=2000),
    holes=st.lists(st.integers(0, 3_000_000), max_size=3),
    mode=st.integers(0, 0o1777),
    time=TIMES,
    xattrs=XATTRS,
)
LINKS = st.builds(dict, kind=st.just("symlink"), text=NAMES | LONG, time=TIMES)
DIRECTORIES = st.builds(dict, kind=st.just("directory"), mode=st.integers(0, 0o1777), time=TIMES, xattrs=XATTRS)
AGAIN = st.builds(dict, kind=st.just("again"))
TREES = st.dictionaries(
    st.lists(NAMES | LONG, min_size=1, max_size=3).map(tuple), FILES | LINKS | DIRECTORIES | AGAIN, max_size=12
)


def plant(home: Path, tree: dict[Place, dict[str, Any]]) -> None:
    """Make a tree; what would need a directory where another thing is, is left out."""
    root = os.fsencode(home)
    made: list[bytes] = []
    for place, thing in tree.items():
        path = os.path.join(root, *place)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if thing["kind"] == "directory":
                os.makedirs(path, exist_ok=True)
            elif os.path.lexists(path):
                continue
            elif thing["kind"] == "symlink":
                os.symlink(thing["text"], path)
            elif thing["kind"] == "again":
                if made:
                    os.link(made[0], path)
            else:
                with open(path, "xb") as file:
                    file.write(thing["content"])
                    for hole in thing["holes"]:
                        file.seek(hole, os.SEEK_CUR)
                        file.write(b"x")
                made.append(path)
        except OSError:
            continue
    for place, thing in sorted(tree.items(), key=lambda each: -len(each[0])):  # a directory after what is in it
        path = os.path.join(root, *place)
        is_there = os.path.islink(path) if thing["kind"] == "symlink" else os.path.exists(path)
        if not is_there or "time" not in thing or (os.path.islink(path) and thing["kind"] != "symlink"):
            continue
        for name, value in thing.get("xattrs", {}).items():
            os.setxattr(path, name, value)
        if "mode" in thing:
            os.chmod(path, thing["mode"])
        os.utime(path, ns=(0, thing["time"]), follow_symlinks=False)


def seen(home: Path) -> dict[bytes, Any]:
    root = os.fsencode(home)
    found: dict[bytes, Any] = {}
    numbers: dict[int, bytes] = {}
    paths = [root]
    while paths:
        path = paths.pop()
        status = os.lstat(path)
        content: Any = None
        if stat.S_ISDIR(status.st_mode):
            paths += [os.path.join(path, name) for name in sorted(os.listdir(path), reverse=True)]
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        else:
            with open(path, "rb") as file:
                content = (file.read(), status.st_nlink, numbers.setdefault(status.st_ino, path)[len(root) :])
        xattrs = {name: os.getxattr(path, name) for name in os.listxattr(path, follow_symlinks=False)}
        found[path[len(root) :]] = (status.st_mode, status.st_mtime_ns, content, xattrs)
    return found


def export(home: Path, manifest: dict[str, Any] | None = None) -> tuple[bytes, Exported]:
    fd = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        made = Export(fd, {"project": manifest or {}})
        return b"".join(made.pieces()), made.done
    finally:
        os.close(fd)


def bring(content: bytes, place: Path, take: Callable[[int], None] = lambda size: None) -> Importing:
    """Import into ``place/home``."""
    place.mkdir(exist_ok=True)
    importing = Importing(Home(place / "home", None, ()), "", take)
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        for _ in importing.steps_of(file.fileno()):
            pass
    return importing


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "source" / "home"
    made.mkdir(parents=True)
    return made


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="without root nobody reads what its owner may not")


@needs_root
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TREES, st.integers(0, 0o1777), TIMES)
@example({(b"\xff\n", b"x"): {"kind": "directory", "mode": 0o555, "time": 1, "xattrs": {}}}, 0o700, -1)
def test_any_home_goes_out_and_comes_in_as_it_was(tree: dict[Place, dict[str, Any]], mode: int, time_ns: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory, "one", "home")
        home.mkdir(parents=True)
        plant(home, tree)
        home.chmod(mode | 0o700)
        os.utime(home, ns=(0, time_ns))
        content, done = export(home)
        importing = bring(content, Path(directory, "two"))
        assert seen(Path(directory, "two", "home")) == seen(home)
        assert (importing.done.files, importing.left_out) == (done.files, 0)
        assert not os.listdir(Path(directory, "two", "staging"))
        assert export(home)[0] == export(Path(directory, "two", "home"))[0] == content


def test_gnu_tar_reads_it(home: Path, tmp_path: Path) -> None:
    (home / "d").mkdir()
    with (home / "d" / "sparse").open("wb") as file:
        file.seek(3_000_000)
        file.write(b"end")
    (home / ("ü" * 90)).write_text("long")
    os.link(home / "d" / "sparse", home / "hard")
    (home / "link").symlink_to("d/sparse")
    os.utime(home / "d", ns=(0, 1_234_567_890_123_456_789))
    content, _ = export(home)
    tar = zstandard.ZstdDecompressor().decompressobj().decompress(content)
    (tmp_path / "x").mkdir()
    (tmp_path / "x.tar").write_bytes(tar)
    assert os.spawnlp(os.P_WAIT, "tar", "tar", "-xf", str(tmp_path / "x.tar"), "-C", str(tmp_path / "x"), "home") == 0
    assert seen(tmp_path / "x" / "home") == seen(home)


def test_holes_stay_holes(home: Path, tmp_path: Path) -> None:
    with (home / "sparse").open("wb") as file:
        file.truncate(50_000_000)
        file.seek(20_000_000)
        file.write(b"x" * 10_000)
    with (home / "nothing").open("wb") as file:
        file.truncate(10**12)
    taken: list[int] = []
    content, _ = export(home)
    assert len(content) < 10_000
    bring(content, tmp_path / "in", taken.append)
    made = tmp_path / "in" / "home"
    assert (made / "nothing").stat().st_size == 10**12
    assert (made / "sparse").stat().st_blocks * 512 <= 32_768
    assert sum(taken) < 100_000


def test_what_the_hub_keeps_and_what_is_no_file_stay_out(home: Path, tmp_path: Path) -> None:
    (home / ".projecthub" / "jobs").mkdir(parents=True)
    (home / "below" / ".projecthub").mkdir(parents=True)
    os.mkfifo(home / "pipe")
    content, done = export(home)
    assert done == Exported(files=0, bytes=0, left_out=1)
    assert bring(content, tmp_path / "in").left_out == 1
    assert sorted(os.listdir(tmp_path / "in" / "home")) == ["below"]
    assert os.listdir(tmp_path / "in" / "home" / "below") == [".projecthub"]


def test_more_things_than_an_export_holds(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "MAX_THINGS", 2)
    fd = os.open(home, os.O_RDONLY)
    (home / "a").mkdir()
    (home / "a" / "b").touch()
    exporting.require_few(fd)
    (home / "c").touch()
    with pytest.raises(InvalidArgument, match="more than the 2 things"):
        exporting.require_few(fd)
    os.close(fd)


def test_names_of_many_hard_links_take_bounded_memory(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "_MAX_LINK_BYTES", 5)
    for name in ("a", "b", "c", "d"):
        (home / name).write_text(name)
        os.link(home / name, home / f"{name}{name}")
    content, done = export(home)
    bring(content, tmp_path / "in")
    made = tmp_path / "in" / "home"
    assert {path.name: path.read_text() for path in made.iterdir()} == {
        path.name: path.read_text() for path in home.iterdir()
    }
    assert done.bytes == 8


def test_the_manifest(home: Path, tmp_path: Path) -> None:
    told = {"title": "Täst", "description": "d", "color": "#fff", "compute_image": None, "unknown": 1}
    content, _ = export(home, told)
    assert bring(content, tmp_path / "in").manifest == Manifest(title="Täst", description="d", color="#fff")


# -- files of ill will -----------------------------------------------------------------------------


def sealed(*entries: bytes, manifest: Any = None, seal: bytes | None = None, end: bytes | None = None) -> bytes:
    """An export whose entries are as given, with a seal that fits."""
    content = json.dumps(manifest or {"format": "projecthub-export", "version": 1}).encode()
    tar = entry(b"projecthub.json", content=content) + b"".join(entries)
    made = json.dumps({"sha256": hashlib.sha256(tar).hexdigest()}).encode() if seal is None else seal
    tar += entry(b"projecthub.seal.json", content=made) + (bytes(1024) if end is None else end)
    return zstandard.ZstdCompressor().compress(tar)


def entry(name: bytes, kind: bytes = tarfile.REGTYPE, *, content: bytes = b"", link: bytes = b"", **more: Any) -> bytes:
    made = header(name, kind, more.pop("mode", 0o644), more.pop("time", 0), size=len(content), link=link, **more)
    return made + content + padding(len(content))


EVIL: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no zstd": lambda: b"no zstd" * 100,
    "no tar": lambda: zstandard.ZstdCompressor().compress(b"no tar" * 1000),
    "an archive that is no export": lambda: zstandard.ZstdCompressor().compress(entry(b"home/a") + bytes(1024)),
    "another manifest": lambda: sealed(manifest={"format": "else", "version": 1}),
    "a manifest that is a list": lambda: sealed(manifest=[1]),
    "a later version": lambda: sealed(manifest={"format": "projecthub-export", "version": 2}),
    "no title": lambda: sealed(manifest={"format": "projecthub-export", "version": 1, "project": {"title": 5}}),
    "half a title": lambda: sealed(
        manifest={"format": "projecthub-export", "version": 1, "project": {"title": "\ud800"}}
    ),
    "a long color": lambda: sealed(
        manifest={"format": "projecthub-export", "version": 1, "project": {"color": "x" * 101}}
    ),
    "another seal": lambda: sealed(entry(b"home/a"), seal=b'{"sha256": "' + b"0" * 64 + b'"}'),
    "a seal without a sum": lambda: sealed(entry(b"home/a"), seal=b"{}"),
    "a seal that is none": lambda: sealed(entry(b"home/a"), seal=b"nothing"),
    "something behind the seal": lambda: sealed(end=entry(b"home/late") + bytes(1024)),
    "no end": lambda: sealed(entry(b"home/a"), end=b""),
    "no seal": lambda: zstandard.ZstdCompressor().compress(
        entry(b"projecthub.json", content=b'{"format": "projecthub-export", "version": 1}') + bytes(1024)
    ),
    "beside the home": lambda: sealed(entry(b"other/a")),
    "above the home": lambda: sealed(entry(b"home/../../evil")),
    "absolute": lambda: sealed(entry(b"/etc/evil")),
    "absolute in the home": lambda: sealed(entry(b"home//etc/evil", tarfile.SYMTYPE, link=b"x"), entry(b"home/../x")),
    "a home that is a file": lambda: sealed(entry(b"home")),
    "a home that is a link": lambda: sealed(entry(b"home", tarfile.SYMTYPE, link=b"/etc")),
    "through a link": lambda: sealed(entry(b"home/l", tarfile.SYMTYPE, link=b"/tmp"), entry(b"home/l/evil")),
    "a hard link out": lambda: sealed(entry(b"home/h", tarfile.LNKTYPE, link=b"/etc/passwd")),
    "a hard link beside": lambda: sealed(entry(b"home/h", tarfile.LNKTYPE, link=b"projecthub.json")),
    "a hard link upwards": lambda: sealed(entry(b"home/h", tarfile.LNKTYPE, link=b"home/../../x")),
    "a pipe": lambda: sealed(entry(b"home/p", tarfile.FIFOTYPE)),
    "a device": lambda: sealed(entry(b"home/d", tarfile.CHRTYPE)),
    "an attribute too large": lambda: sealed(entry(b"home/a", more={b"SCHILY.xattr.user.a": b"x" * 100_000})),
    "a huge header": lambda: sealed(entry(b"home/a", more={b"comment": b"x" * 300_000})),
    "a sparse file of no size": lambda: sealed(
        entry(b"home/a", content=bytes(512), more={b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0"})
    ),
    **{
        f"a map of {text!r}": lambda text=text: sealed(  # type: ignore[misc]
            entry(
                b"home/a",
                content=text.ljust(1024, b"\0"),
                more={
                    b"GNU.sparse.major": b"1",
                    b"GNU.sparse.minor": b"0",
                    b"GNU.sparse.name": b"home/a",
                    b"GNU.sparse.realsize": b"9",
                },
            )
        )
        for text in (
            b"",
            b"\n",
            b"-1\n",
            b"9\n0\n",
            b"1\n0\n9999\n",
            b"2\n5\n1\n0\n1\n",
            b"99999999999999999999\n",
            b"1\nx\n1\n",
        )
    },
    "a map of another kind": lambda: sealed(
        entry(b"home/a", content=b"x", more={b"GNU.sparse.major": b"0", b"GNU.sparse.realsize": b"9"})
    ),
    **{
        f"a record {record!r}": lambda record=record: sealed(  # type: ignore[misc]
            entry(b"x", tarfile.XHDTYPE, content=record) + entry(b"home/a")
        )
        for record in (b"0 a=b\n", b"x", b"9 a=b\n", b"3 \n", b"6 a=b\n5 a=", b"-6 a=b\n", b"1_0 a=bcd\n")
    },
    "a size below zero": lambda: sealed(entry(b"x", tarfile.XHDTYPE, content=b"11 size=-5\n") + entry(b"home/a")),
    "a header with another sum": lambda: sealed(entry(b"home/a").replace(b"ustar", b"Ustar")),
    "headers without end": lambda: sealed(entry(b"x", tarfile.XHDTYPE, content=b"6 a=b\n") * 3),
    "a hole beyond all": lambda: sealed(
        entry(
            b"home/a",
            content=b"1\n0\n0\n".ljust(512, b"\0"),
            more={
                b"GNU.sparse.major": b"1",
                b"GNU.sparse.minor": b"0",
                b"GNU.sparse.name": b"home/a",
                b"GNU.sparse.realsize": b"%d" % 2**62,
            },
        )
    ),
}


@pytest.mark.parametrize("name", EVIL)
def test_hostile_exports_make_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        bring(EVIL[name](), tmp_path / "in")
    assert str(tmp_path) not in refused.value.message
    assert not (tmp_path / "in" / "home").exists()
    assert not os.path.lexists("/tmp/evil")
    staging = tmp_path / "in" / "staging"
    assert not staging.exists() or not os.listdir(staging)


def test_a_good_one_of_those_is_taken(tmp_path: Path) -> None:
    bring(sealed(entry(b"home/a", content=b"x", mode=0o6755), entry(b"home/.projecthub/x")), tmp_path / "in")
    assert os.listdir(tmp_path / "in" / "home") == ["a"]
    assert stat.S_IMODE((tmp_path / "in" / "home" / "a").stat().st_mode) == 0o755


@pytest.mark.parametrize("where", [b"home/.projecthub", b"home/./.projecthub", b"home/././.projecthub"])
def test_what_is_a_hubs_own_is_not_taken_from_others(tmp_path: Path, where: bytes) -> None:
    content = sealed(entry(where, tarfile.DIRTYPE), entry(where + b"/jobs", content=b"x"), entry(b"home/a"))
    bring(content, tmp_path / "in")
    assert os.listdir(tmp_path / "in/home") == ["a"]


def test_other_attributes_than_those_of_users_are_not_set(tmp_path: Path) -> None:
    records = {b"SCHILY.xattr.security.capability": b"x", b"SCHILY.xattr.trusted.x": b"y"}
    bring(sealed(entry(b"home/a", more=records)), tmp_path / "in")
    assert os.listxattr(tmp_path / "in" / "home" / "a") == []


def test_a_large_file_that_is_cut_short_makes_nothing(home: Path, tmp_path: Path) -> None:
    (home / "large").write_bytes(os.urandom(3_000_000))
    content, _ = export(home)
    for size in (1_000_000, 2_000_000, len(content) - 100):
        with pytest.raises(InvalidArgument, match=r"damaged|seal"):
            bring(content[:size], tmp_path / "in")
        assert not (tmp_path / "in" / "home").exists()


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.9, 0.999])
def test_a_part_of_one_or_a_damaged_one_makes_nothing(home: Path, tmp_path: Path, part: float) -> None:
    for number in range(50):
        (home / str(number)).write_bytes(os.urandom(200))
    content, _ = export(home)
    at = min(int(len(content) * part), len(content) - 1)
    for bad in (content[:at], content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]):
        with pytest.raises(InvalidArgument):
            bring(bad, tmp_path / "in")
        assert not (tmp_path / "in" / "home").exists()


def test_bombs_end_at_the_quota(tmp_path: Path) -> None:
    left = 1_000_000

    def take(size: int) -> None:
        nonlocal left
        left -= size
        if left < 0:
            raise LimitError("too much")

    for evil in (
        sealed(entry(b"home/zeros", content=bytes(50_000_000))),
        sealed(*(entry(b"home/d%d" % number, tarfile.DIRTYPE) for number in range(1000))),
    ):
        left = 1_000_000
        with pytest.raises(LimitError):
            bring(evil, tmp_path / "in", take)
        assert not (tmp_path / "in" / "home").exists()


def test_a_home_that_is_there_stays(home: Path) -> None:
    (home / "mine").touch()
    content, _ = export(home)
    with pytest.raises(Exception, match="exist"):
        bring(content, home.parent)
    assert os.listdir(home) == ["mine"]


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path) -> Iterator[None]:
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)
