"""What a client does with an archive that it should not believe."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from projecthub.client.directories import DirectoryPacking, unpack
from projecthub.errors import ProtocolError


def archive(*things: tuple[str, bytes, str]) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, kind, link in things:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            tar.addfile(info)
    return packed


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a//b", "./a"])
def test_names_that_lead_out(tmp_path: Path, name: str) -> None:
    target = tmp_path / "inner"
    target.mkdir()
    with pytest.raises(ProtocolError, match="no file can be called"):
        unpack(archive((name, tarfile.REGTYPE, "")), target)
    assert os.listdir(tmp_path) == ["inner"]


@pytest.mark.parametrize(
    ("place", "text", "made"),
    [
        ("l", "f", True),
        ("d/l", "../f", True),
        ("l", "../f", False),
        ("d/l", "../../f", False),
        ("l", "/etc/passwd", False),
        ("d/l", "up/..", False),
        ("l", "d/../..", False),
        ("l", "", False),
    ],
)
def test_links_stay_inside(tmp_path: Path, place: str, text: str, made: bool) -> None:
    done = unpack(archive(("d", tarfile.DIRTYPE, ""), (place, tarfile.SYMTYPE, text)), tmp_path)
    assert (tmp_path / place).is_symlink() == made
    assert bool(done.left_out) != made


def test_nothing_is_written_through_a_link_that_came_along(tmp_path: Path) -> None:
    packed = archive(("l", tarfile.SYMTYPE, "d"), ("d", tarfile.DIRTYPE, ""), ("l/f", tarfile.REGTYPE, ""))
    with pytest.raises(Exception, match="in the way"):
        unpack(packed, tmp_path)
    assert os.listdir(tmp_path / "d") == []


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.LNKTYPE])
def test_other_things_are_left_out(tmp_path: Path, kind: bytes) -> None:
    assert len(unpack(archive(("x", kind, "/etc/passwd")), tmp_path).left_out) == 1
    assert os.listdir(tmp_path) == []


def test_what_the_hub_could_not_read_is_told(tmp_path: Path) -> None:
    info = tarfile.TarInfo(".")
    info.type, info.pax_headers = tarfile.DIRTYPE, {"PROJECTHUB.unreadable": "3"}
    packed = io.BytesIO(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    assert unpack(packed, tmp_path).left_out == ("3 things that the hub may not read",)


def test_damage(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="damaged"):
        unpack(io.BytesIO(b"no tar" * 200), tmp_path)


@pytest.mark.parametrize("damage", [b"", b"damage" * 200])
def test_what_ends_too_early(tmp_path: Path, damage: bytes) -> None:
    whole = archive(("a", tarfile.REGTYPE, ""), ("b", tarfile.REGTYPE, "")).getvalue()
    with pytest.raises(ProtocolError, match="ends too early"):
        unpack(io.BytesIO(whole[:512] + damage), tmp_path)


def test_directories_of_one_alone_stay_so(tmp_path: Path) -> None:
    info = tarfile.TarInfo("private")
    info.type, info.mode = tarfile.DIRTYPE, 0o700
    unpack(io.BytesIO(info.tobuf() + bytes(1024)), tmp_path)
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o700


def test_a_deep_tree_is_packed(tmp_path: Path) -> None:
    inner = tmp_path / "top"
    for _ in range(1500):
        inner /= "d"
        inner.mkdir(parents=True)
    (inner / "f").write_text("x")
    packed = io.BytesIO(b"".join(DirectoryPacking(tmp_path / "top").pieces()))
    with tarfile.open(fileobj=packed) as tar:
        assert tar.getnames()[-1].endswith("d/d/f")
    subprocess.run(["rm", "-rf", tmp_path / "top"], check=True)  # deeper than what pytest can remove
