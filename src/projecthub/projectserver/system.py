"""What a project tells of itself, and signals to its processes.

Source: Wire contract 5.5.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from projecthub.errors import HubError, InvalidArgument, NotFound, PermissionDenied
from projecthub.projectserver.arguments import Options, show
from projecthub.wire.project_system import VERSION
from projecthub.wire.units import to_iso

MAX_PIDS: Final = 1000

_FORMATTERS: Final = {
    "rustfmt": "rustfmt",
    "clang-format": "clang-format",
    "bib-biber": "biber",
    "prettier": "prettier",
    "gofmt": "gofmt",
    "latex": "latexindent",
    "formatR": "Rscript",
    "yapf3": "yapf3",
    "zig": "zig",
    "black": "black",
    "autopep8": "autopep8",
    "tidy": "tidy",
}
_PROGRAMS: Final = {
    "rserver": "rserver",
    "latex": "latexmk",
    "sage": "sage",
    "x11": "xpra",
    "rmd": "Rscript",
    "qmd": "quarto",
    "jq": "jq",
    "spellcheck": "aspell",
    "sshd": "sshd",
    "html2pdf": "chromium",
    "pandoc": "pandoc",
    "vscode": "code-server",
    "julia": "julia",
}
_SUMS: Final = ("sha1sum", "sha256sum", "md5sum")


class System:
    """The methods."""

    def __init__(self, home: str, environment: Mapping[str, str]) -> None:
        """Make them.

        Args:
            home: The project's home.
            environment: Of its commands.
        """
        self._home = home
        self._path = environment["PATH"]

    async def ping(self, _: Sequence[object]) -> object:
        """The call that has no group."""
        return "pong"

    async def version(self, _: Sequence[object]) -> object:
        """A number that grows with what is offered."""
        return VERSION

    async def configuration(self, arguments: Sequence[object]) -> object:
        """What programs there are: ``"main"`` or ``"x11"``. It is looked anew at each call.

        Raises:
            InvalidArgument: Another aspect is asked for.
        """
        aspect = arguments[0] if arguments else "main"
        if aspect not in ("main", "x11"):
            raise InvalidArgument(f'system.configuration tells of "main" or "x11", not of {show(aspect)}')
        return {"timestamp": to_iso(datetime.now(UTC)), "capabilities": self._main() if aspect == "main" else {}}

    def _main(self) -> dict[str, Any]:
        return {
            "jupyter": {"lab": self._has("jupyter-lab"), "notebook": self._has("jupyter-notebook"), "kernelspec": True},
            "formatting": {name: self._has(program) for name, program in _FORMATTERS.items()},
            "hashsums": {name: self._has(name) for name in _SUMS},
            **{name: self._has(program) for name, program in _PROGRAMS.items()},
            "library": False,
            "homeDirectory": self._home,
        }

    def _has(self, program: str) -> bool:
        return shutil.which(program, path=self._path) is not None

    async def signal(self, arguments: Sequence[object]) -> object:
        """Send a signal to processes: ``{"signal", "pid"?, "pids"?}``. All get it that can; the last failure is told.

        Raises:
            InvalidArgument: There is no such signal, or a pid is none; nothing was sent.
            NotFound: There is no such process.
            PermissionDenied: It belongs to somebody else.
        """
        options = Options.of("system.signal", arguments)
        number = _signal(options)
        failure: HubError | None = None
        for pid in _pids(options):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                failure = NotFound(f"there is no process {pid} in this project")
            except PermissionError:
                failure = PermissionDenied(f"process {pid} does not belong to this project")
        if failure is not None:
            raise failure
        return None


def _signal(options: Options) -> int:
    given = options.values.get("signal")
    if isinstance(given, str):
        name = given.upper()
        given = getattr(signal.Signals, name if name.startswith("SIG") else f"SIG{name}", None)
    if isinstance(given, bool) or not isinstance(given, int) or not (given == 0 or given in signal.valid_signals()):
        raise options.refuse("signal", "the number or the name of a signal, such as 15 or SIGTERM")
    return int(given)


def _pids(options: Options) -> list[int]:
    """The processes that are named; never this one nor the first, by which the project would end unseen."""
    many = options.values.get("pids") or []
    one = options.values.get("pid")
    if not isinstance(many, list) or len(many) > MAX_PIDS:
        raise options.refuse("pids", f"a list of at most {MAX_PIDS} ids of processes")
    pids = []
    for pid in [*([] if one is None else [one]), *many]:
        if isinstance(pid, bool) or not isinstance(pid, int) or not 1 < pid < 2**31:
            raise InvalidArgument(f"{show(pid)} is no id of a process; give whole numbers above 1")
        if pid in (os.getpid(), os.getppid()):
            raise InvalidArgument(f"process {pid} is the project's own server; stop the project with projects.stop")
        pids.append(pid)
    return pids
