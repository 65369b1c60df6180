"""Commands and code that run in a project. See `projecthub.wire.shapes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec:
    """`system.exec` of a project. `timeout` is in seconds, `max_output` in characters for each stream."""

    command: str
    args: list[str] | None = None
    path: str | None = None
    cwd: str | None = None
    timeout: float | None = None
    max_output: int | None = None
    bash: bool | None = None
    env: dict[str, str] | None = None
    err_on_exit: bool | None = None
    aggregate: str | int | None = None
    async_call: bool | None = None
    async_get: str | None = None
    async_await: bool | None = None
    async_stats: bool | None = None
    compute_server_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JupyterSpecs:
    """`jupyter.kernels`."""

    project_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JupyterRun:
    """`jupyter.execute`. ``history`` runs first, its output is dropped; ``path`` is the directory to run in."""

    input: str | None = None
    kernel: str | None = None
    history: list[str] | None = None
    project_id: str | None = None
    path: str | None = None
    hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JupyterExecute:
    """`system.jupyterExecute` of a project. ``limits``: ``timeout_s``, ``total_timeout_s``, ``max_output_bytes``."""

    input: str
    kernel: str
    history: list[str] | None = None
    path: str | None = None
    pool: dict[str, Any] | None = None
    limits: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopJupyterKernel:
    """`system.stopJupyterKernel` of a project."""

    pid: int


# -- replies ---------------------------------------------------------------------------------------


class ExecResult(TypedDict):
    """Reply of `system.exec`; of an asynchronous call with its id, and how it stands with it now.

    `start` in milliseconds since the epoch; `status` is `running`, `completed` or `error`.
    """

    type: Literal["blocking", "async"]
    stdout: str
    stderr: str
    exit_code: int
    job_id: NotRequired[str]
    start: NotRequired[int]
    status: NotRequired[str]
    pid: NotRequired[int]
    elapsed_s: NotRequired[float]
    stats: NotRequired[list[dict[str, Any]]]


class JupyterKernelSpec(TypedDict):
    """One kernel of `jupyter.kernels`: what Jupyter calls its specification."""

    name: str
    display_name: str
    language: str
    env: dict[str, str]
    metadata: dict[str, Any]
    resource_dir: str
    argv: list[str]
    interrupt_mode: NotRequired[str]


class JupyterOutput(TypedDict, total=False):
    """One output: of a stream (`name`, `text`), something shown (`data`), or an error (`ename` and so on)."""

    output_type: str
    name: str
    text: str | list[str]
    data: dict[str, Any]
    metadata: dict[str, Any]
    transient: dict[str, Any]
    ename: str
    evalue: str
    traceback: list[str]


class JupyterResult(TypedDict):
    """Reply of `jupyter.execute`; `created` is an ISO time."""

    output: list[JupyterOutput]
    created: str


class RunningKernel(TypedDict):
    """One kernel of `system.listJupyterKernels`."""

    pid: int
    connectionFile: str
    kernel_name: NotRequired[str]


class StoppedKernel(TypedDict):
    """Reply of `system.stopJupyterKernel`."""

    success: bool
