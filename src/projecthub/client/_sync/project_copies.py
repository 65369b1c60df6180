# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from projecthub.client._sync.connection import Connection
from projecthub.client.requests import GRACE_S, of_method, to_timeout_ms
from projecthub.wire import copies, shapes
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.HUB]


class ProjectCopies:
    """What is copied between projects: the part of `projects` about copies."""

    _connection: Connection

    def copy_path_between_projects(
        self,
        src_project_id: str,
        src_path: str,
        target_project_id: str | None = None,
        target_path: str | None = None,
        *,
        overwrite_newer: bool = False,
        delete_missing: bool = False,
        backup: bool = False,
        exclude: list[str] | None = None,
        timeout: float | None = None,
    ) -> shapes.CopySummary:
        """Copy a file or a directory between two projects, or within one. Neither has to run.

        A directory's contents are merged into the target directory. A file becomes the target path, or lands inside
        it if that is a directory.

        Args:
            src_project_id: Project to copy from.
            src_path: What to copy, relative to that project's home.
            target_project_id: Project to copy to. Default: ``src_project_id``.
            target_path: Where to, relative to that project's home. Default: ``src_path``.
            overwrite_newer: Replace files that are newer in the target; else they are kept, counted and named.
            delete_missing: Delete what the target directory has and the source has not.
            backup: Keep a replaced file as ``name~``.
            exclude: Patterns of names to leave out.
            timeout: Seconds it may take; None: as long as it needs.

        Returns:
            How many files and bytes were written, and what was skipped, kept, deleted.

        Raises:
            PermissionDenied: You are not on both projects.
            NotFound: There is nothing at ``src_path``.
            InvalidArgument: A path leads out of its home.
            CallTimeout: It did not end in time.

        Example:
            ```python
            hub.projects.copy_path_between_projects(course, "week1", student, "assignments/week1")
            ```

        Source: Wire contract 2.3.
        """
        arguments = shapes.CopyPath(
            src_project_id=src_project_id,
            src_path=src_path,
            target_project_id=target_project_id,
            target_path=target_path,
            overwrite_newer=overwrite_newer,
            delete_missing=delete_missing,
            backup=backup,
            exclude=exclude,
            timeout=timeout,
        )
        wait_s = math.inf if timeout is None else to_timeout_ms(timeout) / 1000 + GRACE_S
        reply: shapes.CopySummary = self._call_of_copies("projects.copyPathBetweenProjects", arguments, wait_s=wait_s)
        return reply

    def copy_paths(
        self,
        source: copies.ProjectPath | copies.SharedPath | None = None,
        targets: Sequence[str | copies.TargetPath] | None = None,
        *,
        sources: Sequence[copies.SourcePath] | None = None,
        target: copies.ProjectPath | None = None,
        policy: str = "update",
        overwrite_newer: bool = False,
        delete_missing: bool = False,
        backup: bool = False,
        exclude: list[str] | None = None,
        skip_missing: bool = False,
        dry_run: bool = False,
        wait: bool = True,
    ) -> copies.CopyOperation:
        """Copy from one project to many, or from many to one, each target whole or not at all.

        Args:
            source: As `hub.copies.plan` has them, all of these.
            targets: The same.
            sources: The same.
            target: The same.
            policy: The same.
            overwrite_newer: The same.
            delete_missing: The same.
            backup: The same.
            exclude: The same.
            skip_missing: The same.
            dry_run: Only plan it; `hub.copies.apply` does it.
            wait: Whether to wait for its end; else `hub.copies.wait` does.

        Returns:
            The operation. In state ``failed`` some targets are ``failed`` or ``refused``, each with its `error`; all
            others are done. `hub.copies.retry` tries those again, `hub.copies.undo` takes all back.

        Raises:
            PermissionDenied: You may copy to none of the targets.
            InvalidArgument: Two copies would go to one place; an unknown policy; more than 10,000 pairs.

        Example:
            ```python
            hub.projects.copy_paths({"project_id": course, "path": "hw1"}, students, policy="merge")
            work = [{"project_id": student, "path": "hw1"} for student in students]
            hub.projects.copy_paths(sources=work, target={"project_id": course, "path": "collected/hw1"})
            ```

        Source: docs/wire-extensions.md.
        """
        arguments = copies.CopyPaths(
            source=None if source is None else {**source},
            targets=None if targets is None else [one if isinstance(one, str) else {**one} for one in targets],
            sources=None if sources is None else [{**one} for one in sources],
            target=None if target is None else {**target},
            policy=policy,
            overwrite_newer=overwrite_newer,
            delete_missing=delete_missing,
            backup=backup,
            exclude=exclude,
            skip_missing=skip_missing,
            dry_run=dry_run,
            wait=wait,
        )
        wait_s = math.inf if wait else None
        reply: copies.CopyOperation = self._call_of_copies("projects.copyPaths", arguments, wait_s=wait_s)
        return reply

    def _call_of_copies(self, name: str, arguments: Any, *, wait_s: float | None) -> Any:
        return self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments, wait_s=wait_s))
