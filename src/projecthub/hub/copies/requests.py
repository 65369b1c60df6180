"""From what is asked for to pairs of paths. Touches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from projecthub.errors import InvalidArgument
from projecthub.files import CopyOptions, Policy
from projecthub.files.excludes import Excludes
from projecthub.files.paths import LeavesHomeError, reduced, shown
from projecthub.hub.beginnings import KEPT_BACK
from projecthub.hub.copies.ground import SHARE
from projecthub.hub.permissions import project_id_of
from projecthub.wire import copies as shapes
from projecthub.wire.ids import ProjectId, is_share_id

MAX_PAIRS: Final = 10_000
ENDS: Final = "ends"
"""Among the options of an operation: what people are told of where it copies from and to."""
SKIP_MISSING: Final = "skip_missing"
_EITHER: Final = "give either source (one) with targets (many), or sources (many) with target (one)"


@dataclass(frozen=True, slots=True)
class Pair:
    """From where to where; paths are relative to homes, as they were given."""

    source: ProjectId
    source_path: str
    target: ProjectId
    target_path: str

    @property
    def place(self) -> tuple[ProjectId, str]:
        """Where it goes, in one way of writing."""
        return self.target, reduced(self.target_path)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for.

    Attributes:
        policy: What happens to what people have changed.
        options: As the wire names them.
        pairs: From where to where; no place is in another.
    """

    policy: Policy
    options: dict[str, Any]
    pairs: tuple[Pair, ...]


def share_named(source: Mapping[str, Any] | None) -> str | None:
    """The id of the share that a source names; None: it names a project.

    Raises:
        InvalidArgument: It names both, or what is no share's id.
    """
    if source is None or SHARE not in source:
        return None
    if unknown := sorted(source.keys() - {SHARE, "path"}):
        raise InvalidArgument(
            f"source has '{unknown[0][:100]}' beside {SHARE}; give {SHARE}, and perhaps a path below it"
        )
    if not is_share_id(source[SHARE]):
        raise InvalidArgument(f"source.{SHARE} '{str(source[SHARE])[:100]}' is no share's id; it has 40 hex digits")
    return str(source[SHARE])


def path_in_share(shared: str, source: Mapping[str, Any]) -> str:
    """The path in its home of what is copied from a share; a slash at its end stays.

    Raises:
        InvalidArgument: It is no path, or leads out of the share.
    """
    path = _path("" if source.get("path") is None else source["path"], "source.path", out_of="what is shared")
    below = "/".join(part for part in (shared, reduced(path)) if part)
    return f"{below}/" if below and path.endswith("/") else below or "."


def wanted_of(request: shapes.PlanCopies | shapes.CopyPaths, share_id: str | None = None) -> Wanted:
    """What a request asks for.

    Args:
        request: The request.
        share_id: The share that its source is of, if it is.

    Raises:
        InvalidArgument: It says too little, too much, or nothing that there is.
    """
    pairs = _pairs_of(request)
    shared = None if share_id is None or request.source is None else request.source["path"]
    if shared is not None and any(pair.source_path != shared for pair in pairs):
        raise InvalidArgument("source_path of a target is for sources that are projects; of a share, give the path")
    if not pairs:
        raise InvalidArgument("there is nothing to copy to: the list is empty; name at least one project")
    if len(pairs) > MAX_PAIRS:
        raise InvalidArgument(f"{len(pairs)} pairs are too many; give at most {MAX_PAIRS} at a time")
    _apart(pairs)
    exclude = [*(request.exclude or ())]
    Excludes(exclude)
    exclude += kept_back(path for pair in pairs for path in (pair.source_path, pair.target_path))
    options = {
        "overwrite_newer": request.overwrite_newer,
        "delete_missing": request.delete_missing,
        "backup": request.backup,
        "exclude": exclude,
        **({SKIP_MISSING: True} if request.skip_missing else {}),
        **({} if share_id is None else {SHARE: share_id}),
        ENDS: ends_of([(p.source, p.source_path, p.target, p.target_path) for p in pairs]),
    }
    return Wanted(_policy_of(request.policy), options, tuple(pairs))


def ends_of(pairs: Sequence[tuple[ProjectId, str, ProjectId, str]]) -> dict[str, shapes.CopyEnd]:
    """From where to where, in the wire's shapes: told in lists, without a look at each of up to 10,000 targets.

    Args:
        pairs: Source project, path in it, target project, path in it.
    """
    return {
        "source": _side([(project, path) for project, path, _, _ in pairs]),
        "target": _side([(project, path) for _, _, project, path in pairs]),
    }


def _side(places: Sequence[tuple[ProjectId, str]]) -> shapes.CopyEnd:
    projects, paths = ({*each} for each in zip(*places, strict=True))
    told: shapes.CopyEnd = {"projects": len(projects)}
    if len(projects) == 1:
        told["project_id"] = places[0][0]
    if len(paths) == 1:
        told["path"] = shown(places[0][1])
    return told


def options_of(policy: str, options: Mapping[str, Any], *, timeout_s: float | None = None) -> CopyOptions:
    """The options of an operation, as the room of files has them."""
    return CopyOptions(
        overwrite_newer=options["overwrite_newer"],
        delete_missing=options["delete_missing"],
        backup=options["backup"],
        exclude=tuple(options["exclude"]),
        timeout_s=timeout_s,
        policy=Policy(policy),
        keeps_newer_kinds=True,
    )


def kept_back(paths: Iterable[str]) -> list[str]:
    """What to leave out besides: if a path is all of a home, what the hub keeps there for its project alone.

    Others have no business with what was deleted in a project, and with its jobs; and no copy replaces or deletes that.
    """
    return [KEPT_BACK] if any(map(_is_home, paths)) else []


def _is_home(path: str) -> bool:
    try:
        return not reduced(path)
    except LeavesHomeError:
        return False


def _policy_of(name: str) -> Policy:
    try:
        return Policy(name)
    except ValueError:
        raise InvalidArgument(f"policy '{name[:100]}' is unknown; give {', '.join(Policy)}") from None


def _pairs_of(request: shapes.PlanCopies | shapes.CopyPaths) -> list[Pair]:
    if request.source is not None and request.targets is not None:
        if request.sources is not None or request.target is not None:
            raise InvalidArgument(_EITHER)
        source, path = _end(request.source, "source")
        return [
            _handed_out(source, path, {"project_id": one} if isinstance(one, str) else one, f"targets[{n}]")
            for n, one in enumerate(request.targets)
        ]
    if request.sources is not None and request.target is not None:
        if request.source is not None or request.targets is not None:
            raise InvalidArgument(_EITHER)
        target, path = _end(request.target, "target", ".")
        return [_collected(one, f"sources[{n}]", target, path) for n, one in enumerate(request.sources)]
    raise InvalidArgument(_EITHER)


def _handed_out(source: ProjectId, path: str, given: Mapping[str, Any], name: str) -> Pair:
    source_path = given.get("source_path")
    if source_path is None:
        return Pair(source, path, *_end(given, name, path))
    own = _path(source_path, f"{name}.source_path")
    return Pair(source, own, *_end({key: value for key, value in given.items() if key != "source_path"}, name, own))


def _collected(given: Mapping[str, Any], name: str, target: ProjectId, path: str) -> Pair:
    known = {key: value for key, value in given.items() if key != "target_path"}
    source, source_path = _end(known, name)
    # The slash at its end has a single file land in the directory.
    target_path = given.get("target_path") or f"{path.rstrip('/')}/{source}/".removeprefix("./")
    return Pair(source, source_path, target, _path(target_path, f"{name}.target_path"))


def _end(given: Mapping[str, Any], name: str, default: str | None = None) -> tuple[ProjectId, str]:
    if unknown := sorted(given.keys() - {"project_id", "path"}):
        raise InvalidArgument(f"{name} has '{unknown[0][:100]}', which is unknown; give project_id and path")
    project_id = project_id_of(given.get("project_id"), f"{name}.project_id '{{value}}' is not a project id")
    path = given.get("path")
    if path is None:
        path = default
    if path is None:
        raise InvalidArgument(f"{name} has no path; give one relative to its home, '.' for all of it")
    return project_id, _path(path, f"{name}.path")


def _path(path: Any, name: str, *, out_of: str = "the project's home") -> str:
    if not isinstance(path, str):
        raise InvalidArgument(f"{name} is {str(path)[:100]}; give a text")
    try:
        reduced(path)
    except LeavesHomeError:
        raise InvalidArgument(f"{name} '{shown(path)[:200]}' leads out of {out_of}") from None
    return path


def _apart(pairs: Sequence[Pair]) -> None:
    """See that no two pairs go to one place, or one into the other's.

    Raises:
        InvalidArgument: They do.
    """
    before: tuple[ProjectId, tuple[str, ...]] | None = None
    for place in sorted((project, _parts(path)) for project, path in (pair.place for pair in pairs)):
        if before is not None and before[0] == place[0] and place[1][: len(before[1])] == before[1]:
            at = shown("/".join(place[1])) or "."
            raise InvalidArgument(
                f"two copies would go to one place, '{at[:200]}' in project '{place[0]}'; give each a place of its own"
            )
        before = place


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split("/")) if path else ()
