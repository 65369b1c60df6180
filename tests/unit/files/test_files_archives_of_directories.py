"""Archives of directories, packed and unpacked: what hostile homes and hostile archives try."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import tarfile
import tempfile
import threading
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from projecthub.errors import HubError, InvalidArgument, PermissionDenied
from projecthub.files import zips
from projecthub.files.archive_readers import contents_of
from projecthub.files.changes import Home
from projecthub.files.packing import UNREADABLE, Form, packed, require_few
from projecthub.files.places import closing
from projecthub.files.staging import sweep
from projecthub.files.unpacking import Unpacked, Unpacking


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home", None, ("/home/user",))


def tarred(*things: tarfile.TarInfo, content: bytes = b"x") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for thing in things:
            if thing.isreg():
                thing.size = len(content)
            tar.addfile(thing, io.BytesIO(content) if thing.isreg() else None)
    return made.getvalue()


def zipped(*names: str, content: bytes = b"x", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name in names:
            archive.writestr(name, content)
    return made.getvalue()


def unpack(home: Home, content: bytes, form: Form = "tar", take: Callable[[int], None] = lambda size: None) -> Unpacked:
    unpacking = Unpacking(home, "x", take)
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        for _ in unpacking.steps(file.fileno(), form):
            pass
    return unpacking.done


def pack(directory: Path, form: Form) -> bytes:
    with closing(os.open(directory, os.O_RDONLY)) as fd:
        return b"".join(packed(fd, form, whole_home=False))


def test_a_few_bytes_behind_each_hole_are_charged_as_the_blocks_they_take(home: Home) -> None:
    places = range(0, 5000 * 8192, 8192)
    info = tarfile.TarInfo("sparse")
    info.pax_headers = {
        "GNU.sparse.map": ",".join(f"{place},1" for place in places),
        "GNU.sparse.size": str(5000 * 8192),
    }
    taken: list[int] = []
    unpack(home, tarred(info, content=b"x" * 5000), take=taken.append)
    on_disk = (home.path / "x/sparse").stat().st_blocks * 512
    assert on_disk >= 5000 * 4096
    assert sum(taken) >= 5000 * 4096


def test_symlinks_are_charged_as_the_blocks_they_take(home: Home) -> None:
    links = []
    for number in range(100):
        info = tarfile.TarInfo(str(number))
        info.type, info.linkname = tarfile.SYMTYPE, "x" * 4000
        links.append(info)
    taken: list[int] = []
    unpack(home, tarred(*links), take=taken.append)
    assert sum(taken) >= sum(link.lstat().st_blocks * 512 for link in (home.path / "x").iterdir()) > 0


@pytest.mark.parametrize("form", ["tar.gz", "tar.zst"])
def test_damage_that_only_a_checksum_tells(home: Home, form: Form) -> None:
    tar = tarred(tarfile.TarInfo("a"), content=os.urandom(100_000))
    with_checksum = zstandard.ZstdCompressor(write_checksum=True)
    whole = gzip.compress(tar, 0) if form == "tar.gz" else with_checksum.compress(tar)
    broken = bytearray(whole)
    broken[50_000] ^= 1
    assert unpack(home, whole, form).files == 1
    with pytest.raises(InvalidArgument, match="damaged"):
        unpack(home, bytes(broken), form)


def test_what_is_packed_as_zstd_has_a_checksum(tmp_path: Path, home: Home) -> None:
    (tmp_path / "f").write_bytes(os.urandom(100_000))
    broken = bytearray(pack(tmp_path, "tar.zst"))
    broken[50_000] ^= 1
    with pytest.raises(InvalidArgument, match="damaged"):
        unpack(home, bytes(broken), "tar.zst")


@pytest.mark.parametrize("form", ["tar", "tar.gz", "tar.zst"])
def test_two_archives_in_one_are_refused_and_padding_is_not(home: Home, form: Form) -> None:
    compress: Callable[[bytes], bytes] = {"tar": bytes, "tar.gz": gzip.compress, "tar.zst": zstandard.compress}[form]
    one, other = tarred(tarfile.TarInfo("a")), tarred(tarfile.TarInfo("b"))
    assert unpack(home, compress(one) + compress(bytes(1_000_000)), form).files == 1
    for both in (compress(one + other), compress(one) + compress(other)):
        with pytest.raises(InvalidArgument, match="something follows"):
            unpack(home, both, form)


@pytest.mark.parametrize("form", ["tar.gz", "tar.zst"])
def test_what_feeds_much_and_yields_nothing_is_refused(home: Home, form: Form) -> None:
    nothing = gzip.compress(b"") if form == "tar.gz" else zstandard.compress(b"")
    with pytest.raises(InvalidArgument, match="larger than what is in it"):
        unpack(home, nothing * (3_000_000 // len(nothing)), form)


def test_a_deflated_nothing_in_a_zip_is_refused(home: Home) -> None:
    empty_blocks = b"\x00\x00\x00\xff\xff" * 600_000
    broken = _zip_of(b"a", b"a", empty_blocks + zlib.compress(b"", 9)[2:-4], crc=0, size=0)
    with pytest.raises(InvalidArgument, match="another size"):
        unpack(home, broken, "zip")


def test_names_of_nothing_are_steps_too(home: Home) -> None:
    info = tarfile.TarInfo(".")
    info.type = tarfile.DIRTYPE
    with tempfile.TemporaryFile() as file:
        file.write(tarred(info)[:512] * 5000 + bytes(1024))
        file.flush()
        assert sum(1 for _ in Unpacking(home, "x", lambda size: None).steps(file.fileno(), "tar")) > 20


def test_the_list_of_a_zip_is_not_held(tmp_path: Path) -> None:
    (tmp_path / "z").write_bytes(zipped(*(f"{number:0200}" for number in range(30_000)), method=zipfile.ZIP_STORED))
    with closing(os.open(tmp_path / "z", os.O_RDONLY)) as fd:
        tracemalloc.start()
        try:
            assert sum(1 for _ in contents_of(fd, "zip")) == 30_000
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()


def _zip_of(
    name: bytes, local_name: bytes, content: bytes, *, crc: int, size: int, count: int = 1, system: int = 3
) -> bytes:
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(content), size, len(local_name), 0)
    local += local_name + content
    entry = struct.pack(
        "<4sBB5H3L5H2L", b"PK\1\2", 20, system, 20, 0, 8, 0, 0, crc, len(content), size, len(name), 0, 0, 0, 0, 0, 0
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(entry) + len(name), len(local), 0)
    return local + entry + name + end


def _deflated(content: bytes) -> bytes:
    return zlib.compress(content)[2:-4]


def test_names_of_a_zip_from_unix_are_bytes(home: Home) -> None:
    content = {"crc": zlib.crc32(b"x"), "size": 1}
    unpack(home, _zip_of(b"\xff", b"\xff", _deflated(b"x"), **content), "zip")
    unpack(home, _zip_of(b"gr\x81n", b"gr\x81n", _deflated(b"x"), system=0, **content), "zip")
    assert set(os.listdir(os.fsencode(home.path / "x"))) == {b"\xff", "grün".encode()}


@pytest.mark.parametrize(
    "wrong",
    [
        {"local_name": b"b"},
        {"crc": 1},
        {"size": 0},
        {"size": 2},
        {"count": 0},
        {"count": 2},
        {"content": _deflated(b"x") + b"more"},
        {"content": _deflated(b"x" * 5000)[:-3]},
    ],
)
def test_lists_of_zips_that_lie(home: Home, wrong: dict[str, object]) -> None:
    sound: dict[str, object] = {
        "name": b"a", "local_name": b"a", "content": _deflated(b"x"), "crc": zlib.crc32(b"x"), "size": 1,
    }  # fmt: skip
    assert unpack(home, _zip_of(**sound), "zip").files == 1  # type: ignore[arg-type]
    before = (home.path / "x/a").stat().st_ino
    if wrong == {"content": _deflated(b"x") + b"more"}:
        assert unpack(home, _zip_of(**sound | wrong), "zip").files == 1, "nobody reads that"  # type: ignore[arg-type]
        return
    with pytest.raises(InvalidArgument, match="damaged"):
        unpack(home, _zip_of(**sound | wrong), "zip")  # type: ignore[arg-type]
    assert (home.path / "x/a").stat().st_ino == before


@pytest.mark.parametrize("cut", [1, 10, 22, 60, 100])
def test_zips_that_end_too_early_or_too_late(home: Home, cut: int) -> None:
    whole = zipped("a", "b")
    for broken in (whole[:-cut], whole + b"x" * cut, whole[cut:]):
        try:
            with closing(_file_of(broken)) as fd:
                list(zips.listed(fd))
        except zips.BadZipError:
            pass
        with pytest.raises(InvalidArgument):
            unpack(home, broken, "zip")
    assert unpack(home, b"before" * cut + whole, "zip").files == 2, "as in archives that unpack themselves"


def _file_of(content: bytes) -> int:
    fd = os.memfd_create("zip")
    os.write(fd, content)
    return fd


def test_a_zip_with_long_fields(home: Home) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", allowZip64=True) as archive:
        with archive.open(zipfile.ZipInfo("a"), "w", force_zip64=True) as file:
            file.write(b"x" * 10)
        for number in range(65_600):
            archive.writestr(str(number), b"")
    assert sum(1 for _ in zips.listed(_file_of(made.getvalue()))) == 65_601
    assert unpack(home, zipped("d/", "a"), "zip").files == 1


def test_two_at_once_into_a_directory_that_is_not_there(tmp_path: Path) -> None:
    archives = [tarred(tarfile.TarInfo(name)) for name in "abcd"]
    for number in range(100):
        (tmp_path / f"{number}/home").mkdir(parents=True)
        home = Home(tmp_path / f"{number}/home", None, ())
        barrier, failed = threading.Barrier(len(archives)), list[BaseException]()

        def work(content: bytes, home: Home = home, barrier: Any = barrier, failed: Any = failed) -> None:
            barrier.wait()
            try:
                unpack(home, content)
            except HubError as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(content,)) for content in archives]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert sorted(os.listdir(home.path / "x")) == ["a", "b", "c", "d"]
        assert os.listdir(home.staging) == []


def test_what_may_not_be_written_to_is_seen_before_anything_is_moved() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        directory.chmod(0o777)
        (directory / "home/x/closed").mkdir(parents=True)
        for each in ("home", "home/x"):
            (directory / each).chmod(0o777)
        child = os.fork()
        if not child:
            try:
                os.setuid(65534)
                (directory / "home/x/closed").stat()
                unpack(Home(directory / "home", None, ()), tarred(*map(tarfile.TarInfo, ("a", "closed/b"))))
            except PermissionDenied:
                os._exit(7)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert os.listdir(directory / "home/x") == ["closed"]


def test_directories_that_lay_apart_are_as_any_other(home: Home) -> None:
    unpack(home, tarred(*map(tarfile.TarInfo, ("a/b/c", "d/e"))))
    assert sorted(path.name for path in (home.path / "x").rglob("*")) == ["a", "b", "c", "d", "e"]
    usual = home.path / "usual"
    usual.mkdir()
    assert {_flags(path) for path in (home.path / "x", home.path / "x/a", home.path / "x/a/b")} == {_flags(usual)}


def _flags(path: Path) -> bytes | None:
    import fcntl

    with closing(os.open(path, os.O_RDONLY)) as fd:
        try:
            return fcntl.ioctl(fd, 0x80086601, bytes(8))
        except OSError:
            return None


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A tree whose paths are longer than the kernel takes at once."""
    top = tmp_path / "deep"
    top.mkdir()
    (top / "shallow").write_text("x")
    fd = os.open(top, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("n" * 200, dir_fd=fd)
        inner = os.open("n" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    yield top
    (tmp_path / "staging").mkdir()
    top.rename(tmp_path / "staging/deep")
    sweep(tmp_path / "staging")
    assert os.listdir(tmp_path / "staging") == []


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_paths_that_are_too_long_are_left_out_and_counted(deep: Path, form: Form) -> None:
    content = pack(deep, form)
    if form == "zip":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.comment == b"1 unreadable things were left out"
            assert "shallow" in archive.namelist()
        return
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        things = list(tar)
    assert things[-1].pax_headers[UNREADABLE] == "1"
    assert "shallow" in {thing.name for thing in things}


def test_names_that_look_alike_in_a_zip(tmp_path: Path) -> None:
    for name in (b"\xff", b"\\xff", b"\\xff~1"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(name)
    with zipfile.ZipFile(io.BytesIO(pack(tmp_path, "zip"))) as archive:
        names = archive.namelist()
        assert len(set(names)) == 3
        assert {archive.read(name) for name in names} == {b"\xff", b"\\xff", b"\\xff~1"}


def test_the_list_of_a_zip_that_is_made_is_bounded(tmp_path: Path) -> None:
    inner = tmp_path
    for _ in range(12):
        inner /= "n" * 250
    inner.mkdir(parents=True)
    with closing(os.open(inner, os.O_RDONLY)) as fd:
        for number in range(6000):
            os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    with closing(os.open(tmp_path, os.O_RDONLY)) as fd, pytest.raises(InvalidArgument, match=r"take tar\.zst"):
        require_few(fd)
    with pytest.raises(InvalidArgument, match=r"take tar\.zst"):
        pack(tmp_path, "zip")


def test_a_tree_of_depth_500(tmp_path: Path, home: Home) -> None:
    inner = tmp_path / "source"
    for _ in range(500):
        inner /= "d"
    inner.mkdir(parents=True)
    (inner / "f").write_text("x")
    for form in ("tar", "tar.zst", "tar.gz", "zip"):
        assert unpack(home, pack(tmp_path / "source", form), form).files == 1  # type: ignore[arg-type]
    assert stat.S_ISREG((home.path / "x" / inner.relative_to(tmp_path / "source") / "f").stat().st_mode)
