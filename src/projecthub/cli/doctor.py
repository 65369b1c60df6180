"""`projecthub doctor`: what this machine can do."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from projecthub.cli import output
from projecthub.cli.serve import read_settings
from projecthub.cli.session import AsJson, Session

if TYPE_CHECKING:
    from projecthub.engines.local.probe import Check

_REQUIRED: Final = {"pidfd"}
"""Checks without which a hub does not run at all; the others are about how well it keeps projects apart."""


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Tell what a hub on this machine could do, and what is missing. Exit code 1: it could not run at all."""
    session = Session.of(context, as_json)
    if missing := _missing_packages():
        text = f"a hub needs more packages: {', '.join(missing)}"
        output.print_failure(text, "missing_packages", "pip install 'projecthub[server]'", as_json=session.as_json)
        raise typer.Exit(1)
    from projecthub.engines.local import probe, shared

    settings = read_settings({}, None)
    with output.working("Trying what this machine offers"):
        directory = _nearest_existing(settings.data_dir)
        checks, isolation = probe.checks(directory), probe.best_isolation()
        checks += [_disk_quotas(directory)]
        checks += shared.checks(settings.processes, probe.control_groups()["memory"])
    runs = all(check.ok for check in checks if check.name in _REQUIRED)
    if session.as_json:
        found = [{"name": c.name, "ok": c.ok, "detail": c.detail, "remedy": c.remedy} for c in checks]
        output.print_json({"runs": runs, "isolation": isolation, "checks": found})
    else:
        output.print_table(
            ("CHECK", "OK", "WHAT WAS FOUND", "WHAT TO DO"),
            [(c.name, "yes" if c.ok else "no", c.detail, None if c.ok else c.remedy) for c in checks],
        )
        output.print_facts([("best isolation", isolation), ("a hub can run", "yes" if runs else "no")])
    if not runs:
        raise typer.Exit(1)


def _disk_quotas(directory: Path) -> Check:
    """Whether what projects write themselves is held to their quotas; homes are measured in any case."""
    from projecthub.engines.local.probe import Check  # not installed with the client alone
    from projecthub.files.kernel_quotas import is_offered

    remedy = (
        "no harm, but what projects write themselves is only told by 'projects status': watch the disk's free space, "
        "or keep homes on xfs or ext4 with project quotas, as root"
    )
    if is_offered(directory):
        return Check("exact disk quotas", True, "the file system holds each project to its disk quota", remedy)
    found = "the file system holds no project to its quota: homes are measured, and the hub keeps to it when it writes"
    return Check("exact disk quotas", False, found, remedy)


def _missing_packages() -> list[str]:
    """The packages of the extra `server` that are not installed, as far as the installation tells."""
    try:
        wanted = metadata.requires("projecthub") or []
    except metadata.PackageNotFoundError:  # run from the source tree
        return []
    names = (re.match(r"[\w.-]+", line) for line in wanted if re.search(r"extra\s*==\s*['\"]server['\"]", line))
    return [name.group() for name in names if name and not _is_installed(name.group())]


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _nearest_existing(directory: Path) -> Path:
    return next(path for path in (directory.absolute(), *directory.absolute().parents) if path.is_dir())
