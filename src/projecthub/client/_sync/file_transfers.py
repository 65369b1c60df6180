# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Final

from projecthub.client._sync.connection import Connection
from projecthub.client.directories import DirectoryPacking, Transferred, receiving, unpack
from projecthub.client.parts import Part, Passing, Receiver
from projecthub.client.retries import pauses_s
from projecthub.client.transfers import (
    PIECE_BYTES,
    SMALL_BYTES,
    Local,
    Progress,
    SummedFile,
    fingerprint,
    metadata,
    reading,
    remaining,
)
from projecthub.errors import Conflict, NotFound, ProtocolError, TransportError

if TYPE_CHECKING:
    from projecthub.client._sync.project import Project

_TUS: Final = {"tus-resumable": "1.0.0"}
_RESUMES: Final = 8
"""How often a transfer goes on after its connection was lost."""
_UNPACKING_S: Final = 3600.0
"""How long the hub may take to unpack an archive that has come, or to find the next thing to pack."""


class FileTransfers:
    """Uploads and downloads: the part of a project's `files` about them."""

    _connection: Connection
    _project: Project

    def upload(self, source: Local, path: str, *, mode: int | None = None, progress: Progress | None = None) -> int:
        """Write a file of any size whole, or not at all. Goes on where it was when the connection is lost.

        What is sent of a file of this machine is found again within 24 hours, by any process that uploads the same
        file, unchanged, to the same path. Its checksum is compared at the end.

        Args:
            source: A path on this machine, bytes, or an open binary file. A file that cannot seek is sent in one go.
            path: Where in the project.
            mode: Permission bits; None: usual ones, or those of the file that is replaced.
            progress: Called after each piece.

        Returns:
            How many bytes were written.

        Raises:
            LimitError: It would not fit.
            TransportError: The connection was lost again and again.
            ProtocolError: The file on this machine was cut short meanwhile.

        Example:
            ```python
            project.files.upload("data.csv", "week1/data.csv")
            ```
        """
        with reading(source) as file:
            length = remaining(file)
            if length is None or length <= SMALL_BYTES:
                params = {"path": path, "mode": mode}
                content = pieces_of(file, length, progress)
                written = self._json("PUT", "files/content", params=params, content=content)
                return int(written["bytes"])
            summed, mark = SummedFile(file, length), fingerprint(source, mode)
            if mark is not None and (upload_id := self._unfinished(path, length, mark)) is not None:
                try:
                    return self._send(summed, upload_id, progress, goes_on=True)
                except (Conflict, NotFound):  # another process is about it, or it is over
                    pass
            upload_id = self._begin_upload(path, length, mode, mark)
            return self._send(summed, upload_id, progress, goes_on=False)

    def _unfinished(self, path: str, length: int, mark: str) -> str | None:
        """An upload of the same state of the same file that was ended before its time."""
        reply = self._json("GET", "uploads", params={"path": path})
        for upload in reply["uploads"]:
            if upload["fingerprint"] == mark and upload["length"] == length:
                return str(upload["id"])
        return None

    def _begin_upload(self, path: str, length: int, mode: int | None, mark: str | None) -> str:
        octal = None if mode is None else f"{mode:o}"
        values = {"path": path, "mode": octal, "fingerprint": mark}
        headers = {"upload-length": str(length), "upload-metadata": metadata(values)}
        with self._connection.native("POST", self._place("uploads"), headers=_TUS | headers) as begun:
            return str(begun.headers["location"].rpartition("/")[2])

    def _send(self, file: SummedFile, upload_id: str, progress: Progress | None, *, goes_on: bool) -> int:
        """Send what is not there yet; the last piece with the checksum of the whole."""
        at, asks = 0, goes_on
        lost: TransportError | Conflict | None = None
        place, pauses = self._place(f"uploads/{upload_id}"), pauses_s(_RESUMES)
        while True:
            try:
                if asks:
                    with self._connection.native("HEAD", place, headers=_TUS) as told:
                        at = int(told.headers["upload-offset"])
                while at < file.length:
                    at = self._send_part(file, place, at, progress)
                return file.length
            except NotFound:
                if lost is not None:  # it was refused for good; what was said then tells why
                    raise lost from None
                raise
            except (TransportError, Conflict) as error:  # a hub may not know yet that the connection is gone
                if not pauses:
                    raise
                lost, asks = error, True
            time.sleep(pauses.pop(0))

    def _send_part(self, file: SummedFile, place: str, at: int, progress: Progress | None) -> int:
        last = max(0, file.length - PIECE_BYTES)
        stop = last if at < last else file.length
        headers = {**_TUS, "upload-offset": str(at), "content-type": "application/offset+octet-stream"}
        if stop == file.length:
            headers["repr-digest"] = file.digest()
        parts = _parts(file, at, stop, progress)
        with self._connection.native("PATCH", place, headers=headers, content=parts, wait_s=_UNPACKING_S) as answer:
            reached = int(answer.headers["upload-offset"])
        if reached != stop:
            raise ProtocolError(
                f"only {reached} of {file.length} bytes could be read: the file was cut short meanwhile"
            )
        return reached

    def download(
        self,
        path: str,
        target: str | os.PathLike[str] | IO[bytes],
        *,
        verify: bool = False,
        progress: Progress | None = None,
    ) -> int:
        """Read a file of any size. Goes on where it was when the connection is lost.

        A target that is a path has a part beside it until all is there, named ``.NAME.part-...``. What a download that
        was ended has left of it is used by the next one, if the file in the project is as it was; then its checksum is
        compared in any case.

        Args:
            path: Where in the project.
            target: A path on this machine, which gets its content when all of it is there; or an open binary file.
            verify: Have the hub compute the checksum first, and compare; for files of up to 4 GiB.
            progress: Called after each piece.

        Returns:
            How many bytes were read.

        Raises:
            NotFound: There is no such file.
            ProtocolError: The file changed meanwhile, or its checksum is another.
            TransportError: The connection was lost again and again.

        Example:
            ```python
            project.files.download("names.txt", "names.txt", verify=True)
            ```
        """
        if not isinstance(target, str | os.PathLike):
            return self._receive(path, Passing(target), verify, progress)
        source = f"{self._connection.target.host}\n{self._project._own_id()}\n{path}"
        with Part(target, source) as part:
            if part.is_waiting():
                self._take_up(path, part)
            return self._receive(path, part, verify, progress)

    def _take_up(self, path: str, part: Part) -> None:
        """Find out whether what is there of a download that was ended is of the file as it is now."""
        with self._connection.native("HEAD", self._place("files/content"), params={"path": path}) as told:
            part.take_up(told.headers["etag"])
            if part.at >= int(told.headers["content-length"]):  # all of it, or more: there is no rest to ask for
                part.begin_anew()

    def _receive(self, path: str, into: Receiver, verify: bool, progress: Progress | None) -> int:
        digest: str | None = None
        asks, pauses = verify or into.at > 0, pauses_s(_RESUMES)
        place = self._place("files/content")
        while True:
            headers = {"range": f"bytes={into.at}-", "if-range": into.etag} if into.at else {}
            if asks:
                headers["want-repr-digest"] = "sha-256=1"
            try:
                with self._connection.native("GET", place, params={"path": path}, headers=headers) as answer:
                    if into.at and (answer.status_code != 206 or answer.headers["etag"] != into.etag):
                        raise ProtocolError(f"'{path}' changed while it was downloaded; download it again")
                    into.begin(answer.headers["etag"])
                    digest, asks = answer.headers.get("repr-digest", digest), False
                    length = into.at + int(answer.headers["content-length"])
                    for piece in answer.iter_bytes():
                        into.write(piece)
                        if progress is not None:
                            progress(into.at, length)
                break
            except TransportError:
                if not pauses:
                    raise
            time.sleep(pauses.pop(0))
        if verify and digest is None:
            raise ProtocolError(f"'{path}' is so large that the hub tells no checksum of it; download without verify")
        if digest is not None and digest != into.digest():
            raise ProtocolError(f"'{path}' has another checksum than the hub told; download it again")
        return into.at

    def upload_dir(self, source: str | os.PathLike[str], path: str, *, progress: Progress | None = None) -> Transferred:
        """Upload a directory with all that is in it, by one archive, whole or not at all.

        It is merged into what is there: files are replaced, and what else is there stays. Symlinks stay symlinks;
        pipes, sockets and devices are left out. If the connection is lost nothing was changed: upload it again.

        Args:
            source: A directory on this machine.
            path: The directory in the project, which is made if it is missing.
            progress: Called after each piece, with the bytes of files.

        Raises:
            LimitError: It would not fit.
            Conflict: A file is where a directory would go, or the reverse.

        Example:
            ```python
            sent = project.files.upload_dir("handout", "week2")
            print(sent.files, sent.bytes)
            ```
        """
        packing = DirectoryPacking(source)
        params = {"path": path, "format": "tar"}
        content = _pieces(packing, progress)
        reply = self._json("PUT", "files/archive", params=params, content=content, wait_s=_UNPACKING_S)
        return Transferred(reply["files"], reply["bytes"], tuple(packing.left_out))

    def download_dir(
        self, path: str, target: str | os.PathLike[str], *, progress: Progress | None = None
    ) -> Transferred:
        """Download a directory with all that is in it, by one archive.

        It is merged into what is there, when all of it has come: it takes its room twice for so long. Symlinks are made
        if they stay within the directory. Of the home, what the hub keeps in ``.projecthub`` is left out.

        Args:
            path: The directory in the project; empty for the home.
            target: The directory on this machine, which is made if it is missing.
            progress: Called after each piece, with the bytes of the archive.

        Raises:
            NotFound: There is no such directory.
            Conflict: It is no directory, or what is on this machine is in the way.
            ProtocolError: What came is damaged.

        Example:
            ```python
            project.files.download_dir("week1", "collected/week1")
            ```
        """
        place = self._place("files/archive")
        params = {"path": path, "format": "tar"}
        with receiving(target) as file:
            with self._connection.native("GET", place, params=params, wait_s=_UNPACKING_S) as answer:
                at = 0
                for piece in answer.iter_bytes():
                    file.write(piece)
                    at += len(piece)
                    if progress is not None:
                        progress(at, None)
            return unpack(file, target)

    def _place(self, path: str) -> str:
        return f"projects/{self._project._own_id()}/{path}"

    def _json(self, method: str, path: str, **request: Any) -> Any:
        with self._connection.native(method, self._place(path), **request) as response:
            response.read()
            return response.json()


def pieces_of(file: IO[bytes], length: int | None, progress: Progress | None) -> Iterator[bytes]:
    """What is left in a file, in pieces."""
    at = 0
    while piece := file.read(PIECE_BYTES):
        yield piece
        at += len(piece)
        if progress is not None:
            progress(at, length)


def _parts(file: SummedFile, at: int, stop: int, progress: Progress | None) -> Iterator[bytes]:
    for piece in file.pieces(at, stop):
        yield piece
        at += len(piece)
        if progress is not None:
            progress(at, file.length)


def _pieces(packing: DirectoryPacking, progress: Progress | None) -> Iterator[bytes]:
    for piece in packing.pieces():
        yield piece
        if progress is not None:
            progress(packing.done, packing.total)
