# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

from typing import Any

from projecthub.client._sync.connection import Connection
from projecthub.client._sync.project_server import ProjectServer
from projecthub.client.requests import of_method
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint
from projecthub.wire.organizations import AdminResetPasswordLink, GenerateUserAuthToken, RevokeUserAuthToken

_OF_HUB = METHODS[Endpoint.HUB]
_OF_PROJECT = METHODS[Endpoint.PROJECT]


class HubSystem:
    """Who the key is, and other people."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ping(self) -> shapes.Ping:
        """Ask the hub for a sign of life.

        Returns:
            `now`: the hub's time in milliseconds since the epoch.

        Raises:
            NotSignedIn: The key is not valid here.

        Example:
            ```python
            hub.system.ping()  # {'now': 1764252000000}
            ```
        """
        reply: shapes.Ping = self._call("system.ping", shapes.NoArguments())
        return reply

    def test(self) -> shapes.Test:
        """Whose key this is.

        Returns:
            `account_id`, and `server_time` in milliseconds since the epoch.

        Raises:
            NotSignedIn: The key is not valid here; a project's own key is valid only in its project.

        Example:
            ```python
            me = (hub.system.test())["account_id"]
            ```
        """
        reply: shapes.Test = self._call("system.test", shapes.NoArguments())
        return reply

    def get_names(self, account_ids: list[str]) -> dict[str, shapes.UserName]:
        """The names of accounts.

        Args:
            account_ids: Ids of accounts.

        Returns:
            Names by account id; every id asked for is a key.

        Raises:
            InvalidArgument: An id is not a uuid.

        Example:
            ```python
            names = hub.system.get_names([account_id])
            print(names[account_id]["first_name"])
            ```
        """
        reply: dict[str, shapes.UserName] = self._call("system.getNames", shapes.Names(account_ids=account_ids))
        return reply

    def user_search(
        self, query: str, *, limit: int = 20, admin: bool = False, only_email: bool = False
    ) -> list[shapes.User]:
        """Find people by name, e-mail address or account id.

        Args:
            query: Words that must all be in the name; or whole e-mail addresses, which match exactly; or an account
                id. Several, parted by commas, find the people of each.
            limit: How many at most, from 1 to 50 (site admins: 2500).
            admin: Search as a site admin: parts of e-mail addresses match too.
            only_email: Match e-mail addresses alone.

        Returns:
            People, most recently active first; times in milliseconds since the epoch.

        Raises:
            PermissionDenied: ``admin`` without being a site admin.

        Example:
            ```python
            (ada,) = hub.system.user_search("ada@example.org")
            ```
        """
        arguments = shapes.UserSearch(query=query, limit=limit, admin=admin, only_email=only_email)
        reply: list[shapes.User] = self._call("system.userSearch", arguments)
        return reply

    def get_customize(self, fields: list[str] | None = None) -> dict[str, Any]:
        """What the hub tells of itself: its name, its address, whom to ask for help.

        Args:
            fields: Only these; unknown ones are left out. None: all.

        Returns:
            `siteName`, `siteURL`, `dns`, `helpEmail`, `version`, `jupyterApiEnabled`.

        Example:
            ```python
            print((hub.system.get_customize(["siteName"]))["siteName"])
            ```
        """
        reply: dict[str, Any] = self._call("system.getCustomize", shapes.Customize(fields=fields))
        return reply

    def generate_user_auth_token(self, user_account_id: str, password: str | None = None) -> str:
        """Make a token that signs in as somebody for 24 hours, at the hub's `/auth/impersonate?auth_token=`.

        Args:
            user_account_id: Whom.
            password: His password; site admins need none.

        Raises:
            PermissionDenied: The password is wrong, or missing and you are no site admin; or your key is limited.
            LimitError: There were too many wrong passwords.
            NotFound: There is no such account.

        Example:
            ```python
            token = hub.system.generate_user_auth_token(account_id)
            ```
        """
        arguments = GenerateUserAuthToken(user_account_id=user_account_id, password=password)
        reply: str = self._call("system.generateUserAuthToken", arguments)
        return reply

    def admin_reset_password_link(self, user_account_id: str) -> str:
        """Make a link for setting a password, once, within 24 hours. For site admins.

        Args:
            user_account_id: Whose.

        Returns:
            What comes after the hub's address. ``{"password": "..."}`` is POSTed there.

        Raises:
            PermissionDenied: You are no site admin, or your key is limited.
            NotFound: There is no such account.

        Example:
            ```python
            print(hub.host + hub.system.admin_reset_password_link(account_id))
            ```
        """
        arguments = AdminResetPasswordLink(user_account_id=user_account_id)
        reply: str = self._call("system.adminResetPasswordLink", arguments)
        return reply

    def revoke_user_auth_token(self, token: str) -> None:
        """End a sign-in token, and the API keys that were got for it. For whoever knows it. Idempotent.

        Args:
            token: The token.

        Example:
            ```python
            hub.system.revoke_user_auth_token(token)
            ```
        """
        self._call("system.revokeUserAuthToken", RevokeUserAuthToken(token=token))

    def manage_api_keys(
        self,
        action: str = "get",
        project_id: str | None = None,
        name: str | None = None,
        expire: str | int | None = None,
        id: int | None = None,
    ) -> list[shapes.ApiKey] | None:
        """List, make, change or delete keys of your own, or of a project; `Hub.keys` is the more convenient way.

        Args:
            action: ``get``, ``create``, ``edit`` or ``delete``.
            project_id: About the keys of this project; None: your account's.
            name: Name, for ``create`` and ``edit``.
            expire: End, for ``create`` and ``edit``: an ISO time, or milliseconds since the epoch.
            id: Number of the key, for ``edit`` and ``delete``, and to ``get`` one.

        Returns:
            For ``get`` and ``create`` a list of keys, else None. A new one holds its `secret`, this once.

        Raises:
            NotFound: There is no key of that number.
            PermissionDenied: You are not on the project.

        Example:
            ```python
            hub.system.manage_api_keys("create", name="laptop")
            ```
        """
        method = _OF_HUB["system.manageApiKeys"]
        arguments = shapes.ManageApiKeys(action=action, project_id=project_id, name=name, expire=expire, id=id)
        request = of_method(method, arguments, repeatable=action == "get")
        reply: list[shapes.ApiKey] | None = self._connection.call(method, request)
        return reply

    def _call(self, name: str, arguments: Any) -> Any:
        return self._connection.call(_OF_HUB[name], of_method(_OF_HUB[name], arguments))


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
            project_id = (project.system.test())["project_id"]
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

        Source: Wire contract 5.5, as all methods for files here.
        """
        reply: list[shapes.FileEntry] = self._call("system.listing", shapes.Listing(path=path, hidden=hidden))
        return reply

    def read_text_file_from_project(self, path: str) -> str:
        """The text of a file of at most 8 MB; `Project.files` reads larger ones.

        Raises:
            NotFound: There is no such file.
            LimitError: It is too large.
        """
        reply: str = self._call("system.readTextFileFromProject", shapes.ReadTextFile(path=path))
        return reply

    def write_text_file_to_project(self, path: str, content: str) -> None:
        """Write a text file whole, of less than 1 MB; `Project.files` writes larger ones.

        Raises:
            LimitError: It would not fit.
        """
        self._call("system.writeTextFileToProject", shapes.WriteTextFile(path=path, content=content))

    def delete_files(self, paths: list[str]) -> None:
        """Delete files and directories; missing ones are fine. They go to the trash.

        Raises:
            InvalidArgument: A path leads out of the home.
        """
        self._call("system.deleteFiles", shapes.DeleteFiles(paths=paths))

    def move_files(self, paths: list[str], dest: str) -> None:
        """Move files and directories into the directory ``dest``; never overwrites.

        Raises:
            Conflict: Something has the name there.
        """
        self._call("system.moveFiles", shapes.MoveFiles(paths=paths, dest=dest))

    def rename_file(self, src: str, dest: str) -> None:
        """Give a file or directory another path; never overwrites.

        Raises:
            Conflict: Something has that path.
        """
        self._call("system.renameFile", shapes.RenameFile(src=src, dest=dest))

    def realpath(self, path: str) -> str:
        """Where a path leads, relative to the home; the path itself if that is outside.

        Raises:
            NotFound: Nothing is there.
        """
        reply: str = self._call("system.realpath", shapes.RealPath(path=path))
        return reply

    def canonical_paths(self, paths: list[str]) -> list[str]:
        """One name for each path, whether it exists or not."""
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
        request = of_method(_OF_PROJECT[name], arguments, project_id=self._project_id, timeout_s=timeout_s)
        return self._connection.call(_OF_PROJECT[name], request)
