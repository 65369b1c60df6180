"""Notebook files that are run where they are: as jobs, so that they go on without anybody, and can be followed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from projecthub.errors import InvalidArgument, NotFound
from projecthub.projectserver.arguments import Options
from projecthub.projectserver.job_options import parse_job
from projecthub.projectserver.jobs import Jobs, starter_of
from projecthub.wire.jobs import Job

_RUNNER = Path(__file__).with_name("notebook_runner.py")


class Notebooks:
    """The notebooks of a project."""

    def __init__(self, jobs: Jobs, home: str) -> None:
        """Make it.

        Args:
            jobs: Where runs are jobs.
            home: The project's home.
        """
        self._jobs = jobs
        self._home = home

    async def run(self, arguments: Sequence[object]) -> Job:
        """Run a notebook: ``{"path", "kernel"?, "allow_errors"?}``, and ``{"by": account_id}``, which the hub adds.

        Raises:
            InvalidArgument: An option is wrong.
            NotFound: There is no such file.
            LimitError: There is no room for the job.
        """
        options = Options.of("jupyter.run_notebook", arguments)
        path, kernel = options.text("path"), options.text("kernel")
        if not path:
            raise options.refuse("path", "the path of a notebook, relative to the home")
        if path.startswith("/"):
            raise InvalidArgument(f"path '{path[:200]}' must be relative to the project's home")
        file = Path(self._home, path)
        try:
            is_there = file.is_file()
        except OSError:  # no name that a file can have
            is_there = False
        if not is_there:
            raise NotFound(f"there is no file '{path[:200]}' in this project")
        flags = [f"--kernel={kernel}"] if kernel else []
        if options.flag("allow_errors", False):
            flags.append("--allow-errors")
        command = {"command": sys.executable, "args": ["-I", str(_RUNNER), *flags, "--", path], "path": ""}
        job = replace(parse_job([command], home=self._home), shown=("run notebook", path))
        return await self._jobs.begin(job, starter_of(arguments))
