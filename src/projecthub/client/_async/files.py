from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from projecthub.client._async.connection import AsyncConnection
from projecthub.client._async.file_transfers import AsyncFileTransfers
from projecthub.client._async.trash import AsyncProjectTrash
from projecthub.client.names import in_body, named
from projecthub.client.transfers import to_digest
from projecthub.wire import shapes

if TYPE_CHECKING:
    from projecthub.client._async.project import AsyncProject


class AsyncProjectFiles(AsyncFileTransfers):
    """The files of a project, whether it runs or not. Paths are relative to its home.

    Names may be any bytes: what is no UTF-8 in them is half of a character, as in names that Python's ``os`` gives.

    Files on this machine are read and written in the calling thread, in pieces of 1 MiB.

    Attributes:
        trash: What was deleted.
    """

    trash: AsyncProjectTrash

    def __init__(self, connection: AsyncConnection, project: AsyncProject) -> None:
        self._connection = connection
        self._project = project
        self.trash = AsyncProjectTrash(connection, project)

    async def list(self, path: str = "", *, hidden: bool = False) -> list[shapes.FileInfo]:
        """What a directory holds, in the order of the names.

        Raises:
            NotFound: There is no such directory.

        Example:
            ```python
            for entry in await project.files.list("week1"):
                print(entry["name"], entry["bytes"])
            ```
        """
        found: list[shapes.FileInfo] = []
        after = ""
        while True:
            params = {"path": path, "hidden": str(hidden).lower(), "limit": 10_000, "after": after}
            page = await self._json("GET", "files", params=params)
            found += [named(entry) for entry in page["entries"]]
            if page["next"] is None:
                return found
            after = page["next"]

    async def stat(self, path: str) -> shapes.FileInfo:
        """What is at a path; a symlink itself.

        Raises:
            NotFound: Nothing is there.

        Example:
            ```python
            print((await project.files.stat("names.txt"))["modified_at"])
            ```
        """
        reply: shapes.FileInfo = await self._json("GET", "files/stat", params={"path": path})
        return named(reply)

    async def read_bytes(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            NotFound: There is no such file.
            Conflict: It is a directory, or the like.

        Example:
            ```python
            content = await project.files.read_bytes("names.txt")
            ```
        """
        async with self._connection.native("GET", await self._place("files/content"), params={"path": path}) as answer:
            return await answer.aread()

    async def read_with_etag(self, path: str) -> tuple[bytes, str]:
        """The content of a file, and a name for this state of it, for `write_bytes`. Raises as `read_bytes`.

        Example:
            ```python
            content, etag = await project.files.read_with_etag("names.txt")
            await project.files.write_bytes("names.txt", content + b"one more", if_etag=etag)
            ```
        """
        async with self._connection.native("GET", await self._place("files/content"), params={"path": path}) as answer:
            return await answer.aread(), answer.headers["etag"]

    async def read_text(self, path: str, encoding: str = "utf-8") -> str:
        """The text of a file. Raises as `read_bytes`.

        Example:
            ```python
            names = (await project.files.read_text("names.txt")).splitlines()
            ```
        """
        return (await self.read_bytes(path)).decode(encoding)

    async def write_bytes(self, path: str, content: bytes, *, if_etag: str | None = None) -> shapes.WrittenFile:
        """Write a file whole, or not at all. Missing directories are made.

        Args:
            path: Where.
            content: What.
            if_etag: Only if the file is in this state, of which `read_with_etag` told; if it is empty: only if there
                is no file.

        Raises:
            LimitError: It would not fit.
            Conflict: A directory is in its place, or the file is in another state.

        Example:
            ```python
            await project.files.write_bytes("week1/data.bin", bytes(1000))
            ```
        """
        headers = _digest_of(content)
        if if_etag is not None:
            headers |= {"if-match": if_etag} if if_etag else {"if-none-match": "*"}
        reply: shapes.WrittenFile = await self._json(
            "PUT", "files/content", params={"path": path}, content=content, headers=headers
        )
        return reply

    async def write_text(self, path: str, content: str, encoding: str = "utf-8") -> shapes.WrittenFile:
        """Write a text file. Raises as `write_bytes`.

        Example:
            ```python
            await project.files.write_text("week1/task.py", "print(42)")
            ```
        """
        return await self.write_bytes(path, content.encode(encoding))

    async def delete(self, path: str, *, permanent: bool = False) -> str | None:
        """Delete a file, or a directory with all that is in it; what is not there is fine.

        Args:
            path: What.
            permanent: Keep nothing in the trash. So it is too when the project is over its quota.

        Returns:
            The id by which the trash has it; None: it is gone for good, or was not there.

        Example:
            ```python
            trash_id = await project.files.delete("week1")
            ```
        """
        params = {"path": path, "permanent": str(permanent).lower()}
        reply: dict[str, str | None] = await self._json("DELETE", "files", params=params)
        return reply["trash_id"]

    async def move(self, src: str, dest: str) -> None:
        """Give a file or directory another path; never overwrites.

        Raises:
            NotFound: It is not there.
            Conflict: Something has that path.

        Example:
            ```python
            await project.files.move("names.txt", "week1/names.txt")
            ```
        """
        await self._json("POST", "files/move", json=in_body(src=src, dest=dest))

    async def rename(self, src: str, dest: str) -> None:
        """The same as `move`.

        Example:
            ```python
            await project.files.rename("names.txt", "people.txt")
            ```
        """
        await self.move(src, dest)

    async def copy(self, src: str, dest: str) -> None:
        """Copy a file, or what is in a directory, within the project.

        Example:
            ```python
            await project.files.copy("week1", "week1-copy")
            ```
        """
        await self._json("POST", "files/copy", json=in_body(src=src, dest=dest))

    async def mkdir(self, path: str) -> None:
        """Make a directory, and those above it; one that is there is fine.

        Raises:
            Conflict: Something else is there.

        Example:
            ```python
            await project.files.mkdir("week2/data")
            ```
        """
        await self._json("POST", "files/directories", json=in_body(path=path))


def _digest_of(content: bytes) -> dict[str, str]:
    return {"repr-digest": to_digest(hashlib.sha256(content).digest())}
