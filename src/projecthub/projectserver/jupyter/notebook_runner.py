"""Run a notebook file from top to bottom, and write each cell's outputs into it as soon as it has ended.

A program of its own, which the project server starts as a job with the Python it runs on. It prints a line for each
cell. Exit code 0: all cells were run; 1: one raised, or the kernel died; 2: it is no notebook, or has no kernel.
"""
# ruff: noqa: T201 - what it prints is the job's output

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import NoSuchKernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

_nbformat: Any = nbformat  # without types


def main() -> int:
    """Run the notebook that the command line names; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--kernel", default="")
    parser.add_argument("--allow-errors", action="store_true")
    options = parser.parse_args()
    path = options.path.resolve()
    try:
        notebook = _nbformat.read(path, as_version=4)
    except Exception as error:  # whatever a file may hold
        print(f"{options.path} is no notebook: {error}", file=sys.stderr)
        return 2
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in cells:  # what is there after a kill is of this run
        cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name=options.kernel,
        allow_errors=options.allow_errors,
        resources={"metadata": {"path": str(path.parent)}},
    )
    with tempfile.TemporaryDirectory() as runtime_dir, ExitStack() as kernel:
        os.environ["JUPYTER_RUNTIME_DIR"] = runtime_dir  # where the kernel's sockets are
        try:
            manager: Any = client.create_kernel_manager()
            manager.transport, manager.ip = "ipc", f"{runtime_dir}/kernel"  # never a port that others could reach
            kernel.enter_context(client.setup_kernel())
        except NoSuchKernel as error:
            print(f"there is no kernel '{error.name}' in this project", file=sys.stderr)
            return 2
        except RuntimeError as error:  # as nbclient says it
            print(f"the kernel did not come up; perhaps its memory ran out: {error}", file=sys.stderr)
            return 2
        return _run(client, notebook, path, len(cells))


def _run(client: NotebookClient, notebook: Any, path: Path, count: int) -> int:
    """Run the cells, and save after each; the exit code."""
    _save(notebook, path)
    number = 0
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        number += 1
        begin, trouble = time.monotonic(), None
        try:
            client.execute_cell(cell, index)
        except CellExecutionError as error:
            trouble = f"{error.ename}: {error.evalue}"
            is_shown = any(output.output_type == "error" for output in cell.outputs)
            if error.ename == "MemoryError" and not is_shown:  # for which no memory was left
                _add_error(cell, error.ename, error.evalue)
        except DeadKernelError:
            trouble = "the kernel died: it crashed, was killed, or its memory ran out"
            _add_error(cell, "KernelDied", trouble)
        _save(notebook, path)
        print(f"cell {number} of {count}: {trouble or 'done'} ({time.monotonic() - begin:.1f} s)", flush=True)
        if trouble:
            return 1
    return 0


def _add_error(cell: Any, name: str, value: str) -> None:
    told = {"ename": name, "evalue": value, "traceback": [f"{name}: {value}"]}
    cell.outputs.append(_nbformat.v4.new_output("error", **told))


def _save(notebook: Any, path: Path) -> None:
    """Replace the file as a whole, and keep its mode."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}-", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            _nbformat.write(notebook, file)
            file.flush()
            os.fsync(descriptor)
        partial.chmod(path.stat().st_mode & 0o7777)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    sys.exit(main())
