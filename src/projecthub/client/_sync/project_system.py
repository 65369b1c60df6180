# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

from typing import Any

from projecthub.client._sync.connection import Connection
from projecthub.client._sync.project_server import ProjectServer
from projecthub.client.requests import of_method
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.PROJECT]


class ProjectSystem(ProjectServer):
    """Commands in a project. Every call starts the project if it does not run."""

    def __init__(self, connection: Connection, project_id: str | None) -> None:
        self._connection = connection
        self._project_id = project_id

    def ping(self) -> shapes.Ping:
        """Ask the project for a sign of life.

        Returns:
            `now`: the project's time in milliseconds since the epoch.

        Raises:
            PermissionDenied: You are not on the project.
            StartFailed: The project could not be started.

        Example:
            ```python
            project.system.ping()  # {'now': 1764252000000}
            ```
        """
        reply: shapes.Ping = self._call("system.ping", shapes.NoArguments())
        return reply

    def test(self) -> shapes.Test:
        """Which project this key reaches.

        Returns:
            `project_id`, and `server_time` in milliseconds since the epoch.

        Raises:
            NotSignedIn: The key is not valid here.
            PermissionDenied: You are not on the project.

        Example:
            ```python
            project_id = project.system.test()["project_id"]
            ```
        """
        reply: shapes.Test = self._call("system.test", shapes.NoArguments())
        return reply

    def exec(
        self,
        command: str,
        args: list[str] | None = None,
        path: str | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        max_output: int | None = None,
        bash: bool | None = None,
        env: dict[str, str] | None = None,
        async_call: bool | None = None,
        compute_server_id: int | None = None,
        *,
        err_on_exit: bool | None = None,
    ) -> shapes.ExecResult:
        """Run a command in the project and wait for its end.

        Args:
            command: A program's name or path; with blanks and no ``args``, or with ``bash``, a bash script.
            args: Its arguments.
            path: Directory to run in, relative to the project's home. Default: the home.
            cwd: Directory to run in, absolute; wins over ``path``.
            timeout: Seconds it may take before it is killed. Default: 60.
            max_output: Characters of stdout, and of stderr, to keep; the rest is dropped and marked.
            bash: Run ``command`` as a bash script.
            env: Variables to add to its environment.
            async_call: Return at once; `Project.jobs` finds it by the `job_id` of the reply.
            compute_server_id: Where to run it; 0 or None: the project itself.
            err_on_exit: Whether an exit code other than 0 is an error. Default: True.

        Returns:
            `stdout`, `stderr` and `exit_code`.

        Raises:
            ExecFailed: The exit code is not 0 and ``err_on_exit`` holds, there is no such program, or it was killed.
            CallTimeout: It did not end in time.
            PermissionDenied: You are not on the project.
            StartFailed: The project could not be started.

        Example:
            ```python
            result = project.system.exec("sort names.txt | uniq -c", timeout=10)
            print(result["stdout"])
            ```

        Source: Wire contract 5.6.
        """
        arguments = shapes.Exec(
            command=command,
            args=args,
            path=path,
            cwd=cwd,
            timeout=timeout,
            max_output=max_output,
            bash=bash,
            env=env,
            async_call=async_call,
            compute_server_id=compute_server_id,
            err_on_exit=err_on_exit,
        )
        reply: shapes.ExecResult = self._call("system.exec", arguments, timeout_s=timeout)
        return reply

    def listing(self, path: str = "", hidden: bool = False) -> list[shapes.FileEntry]:
        """What a directory of the project holds.

        Args:
            path: The directory, relative to the home.
            hidden: Also names that begin with a dot.

        Returns:
            `name`, `size` (of a directory: how many entries), `mtime` in seconds, and what is special about an entry.

        Raises:
            NotFound: There is no such directory.

        Example:
            ```python
            for entry in project.system.listing("week1"):
                print(entry["name"], entry["size"])
            ```

        Source: Wire contract 5.5, as all methods for files here.
        """
        reply: list[shapes.FileEntry] = self._call("system.listing", shapes.Listing(path=path, hidden=hidden))
        return reply

    def read_text_file_from_project(self, path: str) -> str:
        """The text of a file of at most 8 MB; `Project.files` reads larger ones.

        Raises:
            NotFound: There is no such file.
            LimitError: It is too large.

        Example:
            ```python
            text = project.system.read_text_file_from_project("names.txt")
            ```
        """
        reply: str = self._call("system.readTextFileFromProject", shapes.ReadTextFile(path=path))
        return reply

    def write_text_file_to_project(self, path: str, content: str) -> None:
        """Write a text file whole, of less than 1 MB; `Project.files` writes larger ones.

        Raises:
            LimitError: It would not fit.

        Example:
            ```python
            project.system.write_text_file_to_project("week1/task.py", "print(42)")
            ```
        """
        self._call("system.writeTextFileToProject", shapes.WriteTextFile(path=path, content=content))

    def delete_files(self, paths: list[str]) -> None:
        """Delete files and directories; missing ones are fine. They go to the trash.

        Raises:
            InvalidArgument: A path leads out of the home.

        Example:
            ```python
            project.system.delete_files(["week1", "names.txt"])
            ```
        """
        self._call("system.deleteFiles", shapes.DeleteFiles(paths=paths))

    def move_files(self, paths: list[str], dest: str) -> None:
        """Move files and directories into the directory ``dest``; never overwrites.

        Raises:
            Conflict: Something has the name there.

        Example:
            ```python
            project.system.move_files(["names.txt"], "week1")
            ```
        """
        self._call("system.moveFiles", shapes.MoveFiles(paths=paths, dest=dest))

    def rename_file(self, src: str, dest: str) -> None:
        """Give a file or directory another path; never overwrites.

        Raises:
            Conflict: Something has that path.

        Example:
            ```python
            project.system.rename_file("names.txt", "people.txt")
            ```
        """
        self._call("system.renameFile", shapes.RenameFile(src=src, dest=dest))

    def realpath(self, path: str) -> str:
        """Where a path leads, relative to the home; the path itself if that is outside.

        Raises:
            NotFound: Nothing is there.

        Example:
            ```python
            print(project.system.realpath("week1/../names.txt"))  # names.txt
            ```
        """
        reply: str = self._call("system.realpath", shapes.RealPath(path=path))
        return reply

    def canonical_paths(self, paths: list[str]) -> list[str]:
        """One name for each path, whether it exists or not.

        Example:
            ```python
            print(project.system.canonical_paths(["./names.txt"]))  # ['names.txt']
            ```
        """
        reply: list[str] = self._call("system.canonicalPaths", shapes.CanonicalPaths(paths=paths))
        return reply

    def jupyter_execute(
        self,
        input: str,
        kernel: str,
        history: list[str] | None = None,
        path: str | None = None,
        timeout: float | None = 90,
        *,
        pool: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
    ) -> list[shapes.JupyterOutput]:
        """Run code in a fresh kernel of the project.

        Args:
            input: The code.
            kernel: The kernel's name, such as ``python3``.
            history: Code to run before it in the same kernel; its output is dropped.
            path: Directory to run in, relative to the project's home.
            timeout: Seconds to wait for the answer.
            pool: ``size``: kernels to keep ready, ``timeout_s``: for how long.
            limits: ``timeout_s`` of ``history`` and of ``input``, ``total_timeout_s`` of both, ``max_output_bytes``.

        Returns:
            Its outputs. An exception of the code, too long a time and a kernel that died are outputs too.

        Raises:
            InvalidArgument: There is no such kernel.
            CallTimeout: It did not end in time.
            PermissionDenied: You are not on the project.
            StartFailed: The project could not be started.

        Example:
            ```python
            project.system.jupyter_execute("a + 1", "python3", ["a = 100"])  # [{'data': {'text/plain': '101'}}]
            ```

        Source: Wire contract 5.7.
        """
        arguments = shapes.JupyterExecute(
            input=input, kernel=kernel, history=history, path=path, pool=pool, limits=limits
        )
        reply: list[shapes.JupyterOutput] = self._call("system.jupyterExecute", arguments, timeout_s=timeout)
        return reply

    def list_jupyter_kernels(self) -> list[shapes.RunningKernel]:
        """The kernels that run in the project, those kept ready among them.

        Raises:
            PermissionDenied: You are not on the project.
            StartFailed: The project could not be started.

        Example:
            ```python
            pids = [kernel["pid"] for kernel in project.system.list_jupyter_kernels()]
            ```
        """
        reply: list[shapes.RunningKernel] = self._call("system.listJupyterKernels", shapes.NoArguments())
        return reply

    def stop_jupyter_kernel(self, pid: int) -> shapes.StoppedKernel:
        """Kill a kernel of the project.

        Args:
            pid: Its process id, as in `list_jupyter_kernels`.

        Returns:
            `success`: False if no kernel has that id.

        Raises:
            PermissionDenied: You are not on the project.
            StartFailed: The project could not be started.

        Example:
            ```python
            project.system.stop_jupyter_kernel(pid)  # {'success': True}
            ```
        """
        reply: shapes.StoppedKernel = self._call("system.stopJupyterKernel", shapes.StopJupyterKernel(pid=pid))
        return reply

    def _call(self, name: str, arguments: Any, timeout_s: float | None = None) -> Any:
        request = of_method(_METHODS[name], arguments, project_id=self._project_id, timeout_s=timeout_s)
        return self._connection.call(_METHODS[name], request)
