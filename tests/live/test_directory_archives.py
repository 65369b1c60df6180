"""Directories of projects as archives, out and in, over HTTP, with archives of every ill will."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
import zstandard

from tests.hubs import HubProcess
from tests.live.test_files import Remote, wait_until

FORMS = ("tar.zst", "tar.gz", "tar", "zip")


@pytest.fixture(scope="module")
def remote(hub_process: HubProcess) -> Iterator[Remote]:
    made = Remote(hub_process)
    made.put("first", b"")  # which makes its home
    yield made


@pytest.fixture(scope="module")
def small() -> Iterator[Remote]:
    """A project of 20 MB."""
    with HubProcess(PROJECTHUB_DISK_MB="20") as hub:
        yield Remote(hub)


def fetch(remote: Remote, path: str, form: str = "tar") -> httpx2.Response:
    return remote("GET", "files/archive", params={"path": path, "format": form})


def unpack(remote: Remote, path: str, content: Any, form: str = "tar") -> httpx2.Response:
    return remote("PUT", "files/archive", params={"path": path, "format": form}, content=content)


def tarred(*things: tarfile.TarInfo, content: bytes = b"x") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for thing in things:
            if thing.isreg():
                thing.size = len(content)
            tar.addfile(thing, io.BytesIO(content) if thing.isreg() else None)
    return packed.getvalue()


def named(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", **more: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    for field, value in more.items():
        setattr(info, field, value)
    return info


def zipped(*things: tuple[str, int, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, mode, content in things:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return packed.getvalue()


def tree(remote: Remote, path: str) -> dict[str, tuple[int, bytes | str | None]]:
    found: dict[str, tuple[int, bytes | str | None]] = {}
    for each in sorted((remote.home / path).rglob("*")):
        status = each.lstat()
        content: bytes | str | None = None
        if each.is_symlink():
            content = os.readlink(each)
        elif each.is_file():
            content = each.read_bytes()
        found[str(each.relative_to(remote.home / path))] = (status.st_mode, content)
        assert status.st_uid == status.st_gid == remote.home.stat().st_uid
    return found


@pytest.fixture(scope="module")
def source(remote: Remote) -> Remote:
    """A directory with all kinds of things."""
    made = remote.home / "source"
    (made / "sub/deep/er").mkdir(parents=True)
    (made / "empty").mkdir()
    (made / "sub/grün").write_bytes(os.urandom(1_500_000))
    (made / "sub/deep/script").write_bytes(b"#!/bin/sh\n")
    (made / "sub/deep/script").chmod(0o750)
    (made / "nothing").touch()
    (made / ("long" * 60)).write_text("long")
    (made / "link").symlink_to("sub/grün")
    (made / "away").symlink_to("/etc/passwd")
    os.utime(made / "nothing", (1_000_000_000, 1_000_000_000))
    os.mkfifo(made / "fifo")
    for top, directories, names in os.walk(made):
        for name in (".", *directories, *names):
            os.chown(os.path.join(top, name), *remote.home.stat()[4:6], follow_symlinks=False)
    return remote


@pytest.mark.parametrize("form", FORMS)
def test_out_and_in(source: Remote, form: str) -> None:
    packed = fetch(source, "source", form)
    assert packed.status_code == 200, packed.text
    assert packed.headers["content-disposition"].endswith(f"source.{form}")
    target = f"back/{form}"
    done = unpack(source, target, packed.content, form)
    assert (done.status_code, done.json()["files"]) == (201, 6), done.text
    before, after = tree(source, "source"), tree(source, target)
    del before["fifo"]
    assert after == before
    assert (source.home / target / "nothing").stat().st_mtime == 1_000_000_000
    assert source.left_over() == []


def test_names_of_any_bytes(remote: Remote) -> None:
    odd = os.fsencode(remote.home / "odd") + b"/\xff\n"
    os.mkdir(remote.home / "odd")
    with open(odd, "wb") as file:
        file.write(b"odd")
    assert unpack(remote, "odd2", fetch(remote, "odd", "tar.zst").content, "tar.zst").status_code == 201
    assert os.listdir(os.fsencode(remote.home / "odd2")) == [b"\xff\n"]
    with zipfile.ZipFile(io.BytesIO(fetch(remote, "odd", "zip").content)) as archive:
        assert archive.namelist() == ["\\xff\n"]


def test_the_home_goes_without_what_the_hub_keeps(remote: Remote) -> None:
    remote.put("thrown", b"x")
    remote.delete("thrown")
    packed = zstandard.ZstdDecompressor().stream_reader(fetch(remote, "", "tar.zst").content)
    with tarfile.open(fileobj=io.BytesIO(packed.read())) as tar:
        names = tar.getnames()
    assert ".bashrc" in names
    assert not [name for name in names if name.startswith(".projecthub")]


def test_what_is_there_is_merged(remote: Remote) -> None:
    remote.put("m/kept", b"kept")
    remote.put("m/d/f", b"old")
    (remote.home / "m/l").symlink_to("kept")
    content = tarred(named("d/f"), named("d/g"), named("e/h"), named("l"))
    done = unpack(remote, "m", content)
    assert (done.status_code, done.json()) == (200, {"path": "m", "files": 4, "bytes": 4})
    found = {name: content for name, (_, content) in tree(remote, "m").items() if content is not None}
    assert found == {"kept": b"kept", "d/f": b"x", "d/g": b"x", "e/h": b"x", "l": b"x"}


@pytest.mark.parametrize("crossing", [named("d"), named("f/g")])
def test_what_cannot_be_merged_changes_nothing(remote: Remote, crossing: tarfile.TarInfo) -> None:
    remote.put("c/d/x", b"d")
    remote.put("c/f", b"f")
    before = tree(remote, "c")
    assert unpack(remote, "c", tarred(named("a"), named("z"), crossing)).status_code == 409
    assert unpack(remote, "c/f", tarred(named("a"))).status_code == 409
    assert tree(remote, "c") == before
    assert remote.left_over() == []


EVIL_TARS: dict[str, Callable[[], bytes]] = {
    "absolute": lambda: tarred(named("/etc/evil")),
    "upwards": lambda: tarred(named("a"), named("../../evil")),
    "upwards later": lambda: tarred(named("a/../../evil")),
    "through a link": lambda: tarred(named("l", tarfile.SYMTYPE, "/tmp"), named("l/evil")),
    "through a link upwards": lambda: tarred(named("l", tarfile.SYMTYPE, ".."), named("l/evil")),
    "a directory over a link": lambda: tarred(named("l", tarfile.SYMTYPE, "/tmp"), named("l", tarfile.DIRTYPE)),
    "a hard link out": lambda: tarred(named("h", tarfile.LNKTYPE, "/etc/passwd")),
    "a hard link upwards": lambda: tarred(named("h", tarfile.LNKTYPE, "../../../etc/passwd")),
    "a hard link into nothing": lambda: tarred(named("h", tarfile.LNKTYPE, "no/such")),
    "a hard link to itself": lambda: tarred(named("h", tarfile.LNKTYPE, "h")),
    "a hard link through a link": lambda: tarred(
        named("l", tarfile.SYMTYPE, "/etc"), named("h", tarfile.LNKTYPE, "l/passwd")
    ),
    "a hard link to a link": lambda: tarred(
        named("l", tarfile.SYMTYPE, "/etc/passwd"), named("h", tarfile.LNKTYPE, "l")
    ),
    "a pipe": lambda: tarred(named("p", tarfile.FIFOTYPE)),
    "a device": lambda: tarred(named("d", tarfile.CHRTYPE, devmajor=1, devminor=8)),
    "a disk": lambda: tarred(named("d", tarfile.BLKTYPE, devmajor=8)),
    "a file and a directory": lambda: tarred(named("x"), named("x/y")),
    "a directory and a file": lambda: tarred(named("x/y"), named("x")),
    "a zero": lambda: tarred(named("x", pax_headers={"path": "a\0b"})),
    "a name too long": lambda: tarred(named("x" * 300)),
    "a path too long": lambda: tarred(named("/".join(["x" * 200] * 40)[1:])),
    "a link of nothing": lambda: tarred(named("x", tarfile.SYMTYPE, "")),
    "a huge header": lambda: tarred(named("x", pax_headers={"comment": "x" * 1_000_000})),
    "many headers": lambda: b"".join(tarred(named("x", pax_headers={"comment": "x"}))[:1024] for _ in range(2000)),
    "many global headers": lambda: b"".join(
        tarfile.TarInfo.create_pax_global_header({f"k{n}": "v"}) + tarred(named("x"))[:1024] for n in range(100)
    ),
    "damage": lambda: tarred(named("a"), content=b"x" * 2000)[:2560] + b"damage" * 512,
    "no end": lambda: tarred(named("a"), content=b"x" * 2000)[:2560],
    "cut": lambda: tarred(named("a"), content=b"x" * 2000)[:1500],
    "a negative size": lambda: named("a", size=-1024).tobuf(tarfile.GNU_FORMAT) + bytes(1024),
    "a negative size in words": lambda: tarred(named("a", pax_headers={"size": "-5120"})),
    "a map that overlaps": lambda: tarred(
        named("a", pax_headers={"GNU.sparse.map": "0,1,0,1", "GNU.sparse.size": "9"})
    ),
    "a map below zero": lambda: tarred(named("a", pax_headers={"GNU.sparse.map": "-9,1", "GNU.sparse.size": "9"})),
    "a hole beyond all": lambda: tarred(
        named("a", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": str(2**62)})
    ),
    "nothing at all": lambda: b"",
    "no tar": lambda: b"no tar" * 1000,
}


@pytest.mark.parametrize("name", EVIL_TARS)
def test_hostile_tars_change_nothing(remote: Remote, name: str) -> None:
    before = set(os.listdir(remote.home))
    answer = unpack(remote, "evil", EVIL_TARS[name]())
    assert answer.status_code == 400, answer.text
    assert str(remote.directory.parent) not in answer.text
    assert set(os.listdir(remote.home)) == before
    assert not os.path.exists("/tmp/evil")
    assert remote.left_over() == []


EVIL_ZIPS: dict[str, Callable[[], bytes]] = {
    "absolute": lambda: zipped(("/etc/evil", 0, b"x")),
    "upwards": lambda: zipped(("../evil", 0, b"x")),
    "through a link": lambda: zipped(("l", stat.S_IFLNK | 0o777, b"/tmp"), ("l/evil", 0, b"x")),
    "a long link": lambda: zipped(("l", stat.S_IFLNK | 0o777, b"x" * 5000)),
    "a pipe": lambda: zipped(("p", stat.S_IFIFO | 0o644, b"")),
    "a device": lambda: zipped(("d", stat.S_IFCHR | 0o644, b"")),
    "damage": lambda: (lambda good: good[:45] + b"\xff" * 20 + good[65:])(zipped(("a", 0, os.urandom(1000)))),
    "cut": lambda: zipped(("a", 0, b"x" * 1000))[:-30],
    "encrypted": lambda: _with_flag(zipped(("a", 0, b"x"))),
    "no zip": lambda: b"no zip" * 100,
}


def _with_flag(content: bytes) -> bytes:
    at = content.index(b"PK\x01\x02") + 8
    return content[:at] + bytes([content[at] | 1]) + content[at + 1 :]


@pytest.mark.parametrize("name", EVIL_ZIPS)
def test_hostile_zips_change_nothing(remote: Remote, name: str) -> None:
    answer = unpack(remote, "evil", EVIL_ZIPS[name](), "zip")
    assert answer.status_code == 400, answer.text
    assert not (remote.home / "evil").exists()
    assert not os.path.exists("/tmp/evil")
    assert remote.left_over() == []


def test_what_is_only_strange_is_tamed(remote: Remote) -> None:
    things = (
        named("twice", mode=0o600),
        named("set", mode=0o6755, uid=0, gid=0),
        named("closed", tarfile.DIRTYPE, mode=0),
        named("closed/in"),
        named("out", tarfile.SYMTYPE, "../../../etc/passwd"),
        named("hard", tarfile.LNKTYPE, "set"),
        named("././/dots"),
        named("old", mtime=-5),
        named("mad", pax_headers={"mtime": "inf"}),
        named("madder", pax_headers={"mtime": "nan"}),
        named("twice", mode=0o640),
    )
    done = unpack(remote, "strange", tarred(*things))
    assert done.status_code == 201, done.text
    found = tree(remote, "strange")
    assert stat.S_IMODE(found["twice"][0]) == 0o640
    assert stat.S_IMODE(found["set"][0]) == 0o755
    assert stat.S_IMODE(found["closed"][0]) == 0o700
    assert found["out"][1] == "../../../etc/passwd"
    assert remote.get("strange/out").status_code == 400
    assert found["dots"][1] == b"x"
    assert (remote.home / "strange/hard").samefile(remote.home / "strange/set")


def test_a_sparse_file_keeps_its_holes(small: Remote) -> None:
    headers = {"GNU.sparse.map": "0,1,99999999,1", "GNU.sparse.size": "100000000"}
    done = unpack(small, "sparse", tarred(named("a", pax_headers=headers), content=b"ab"))
    assert done.status_code == 201, done.text
    status = (small.home / "sparse/a").stat()
    assert (status.st_size, status.st_blocks * 512 < 100_000) == (100_000_000, True)
    small.delete("sparse", permanent=True)


@pytest.mark.parametrize("form", ["tar.zst", "tar.gz", "zip"])
def test_bombs_meet_the_quota(small: Remote, form: str) -> None:
    zeros = b"\0" * 300_000_000
    if form == "zip":
        bomb = zipped(("a", 0, zeros))
    else:
        tar = tarred(named("a"), content=zeros)
        bomb = zstandard.compress(tar) if form == "tar.zst" else gzip.compress(tar, 1)
    assert len(bomb) < 2_000_000
    answer = unpack(small, "bomb", bomb, form)
    assert (answer.status_code, answer.json()["code"]) == (507, "limit"), answer.text
    assert not (small.home / "bomb").exists()
    assert small.left_over() == []
    assert unpack(small, "fits", tarred(named("a"), content=b"x" * 9_000_000)).status_code == 201
    assert small.delete("fits", permanent=True) == {"trash_id": None}


def test_directories_count_against_the_quota(small: Remote) -> None:
    many = tarred(*(named(f"d{number}", tarfile.DIRTYPE) for number in range(6000)))
    assert unpack(small, "many", gzip.compress(many), "tar.gz").status_code == 507
    assert small.left_over() == []


def test_what_breaks_off_is_not_unpacked(remote: Remote) -> None:
    def half() -> Iterator[bytes]:
        yield tarred(named("a"))[:1000]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        unpack(remote, "half", half())
    wait_until(lambda: remote.left_over() == [])
    assert not (remote.home / "half").exists()


def test_files_that_change_while_they_are_packed(remote: Remote) -> None:
    busy = remote.home / "busy"
    (busy / "d").mkdir(parents=True)
    for number in range(300):
        (busy / f"d/{number}").write_bytes(b"x" * 5000)
    end = threading.Event()

    def work() -> None:
        number = 0
        while not end.is_set():
            number = (number + 1) % 300
            path = busy / f"d/{number}"
            path.unlink(missing_ok=True)
            if number % 3 == 0:
                path.symlink_to("/etc/passwd")
            else:
                path.write_bytes(b"x" * (number * 50))
            (busy / "d").rename(busy / "moved")
            (busy / "moved").rename(busy / "d")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for form in ("tar", "zip") * 10:
            content = io.BytesIO(fetch(remote, "busy", form).content)
            if form == "zip":
                with zipfile.ZipFile(content) as archive:
                    assert archive.testzip() is None
            else:
                with tarfile.open(fileobj=content) as tar:
                    assert b"root:" not in b"".join(tar.extractfile(one).read() for one in tar if one.isreg())  # type: ignore[union-attr]
    finally:
        end.set()
        thread.join()


def test_what_is_no_directory(remote: Remote, tmp_path: Any) -> None:
    remote.put("file", b"x")
    assert fetch(remote, "file").status_code == 409
    assert fetch(remote, "no/such").status_code == 404
    assert fetch(remote, "../x").status_code == 400
    assert fetch(remote, "", "rar").status_code == 422
    (remote.home / "outwards").symlink_to(tmp_path)
    assert fetch(remote, "outwards").status_code == 400
    assert unpack(remote, "outwards/x", tarred(named("a"))).status_code == 400
    assert unpack(remote, "outwards", tarred(named("a"))).status_code == 400
    assert unpack(remote, "../x", tarred(named("a"))).status_code == 400
    assert os.listdir(tmp_path) == []
    os.unlink(remote.home / "outwards")


def test_who_may_and_what_the_log_tells(remote: Remote, hub_process: HubProcess) -> None:
    _, stranger = hub_process.person("archives-stranger")
    content = tarred(named("a"))
    params = {"path": "logged", "format": "tar"}
    for method in ("GET", "PUT"):
        assert remote(method, "files/archive", key=stranger, params=params, content=content).status_code == 403
        assert remote(method, "files/archive", key="sk-nobody", params=params, content=content).status_code == 401
    assert unpack(remote, "logged", content).status_code == 201
    with hub_process.hub() as hub:
        assert hub.projects.state(remote.project_id)["state"] == "stopped"
        events = [entry["event"] for entry in hub.projects.log(remote.project_id)]
    assert {"event": "archive_unpacked", "path": "logged", "files": 1, "bytes": 1} in events
