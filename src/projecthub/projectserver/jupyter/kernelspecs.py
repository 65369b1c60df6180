"""Which kernels a project has: those that programs have put where Jupyter looks for them, and our own Python."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel

from projecthub.errors import InvalidArgument


def find(name: str) -> KernelSpec:
    """The specification of a kernel.

    Raises:
        InvalidArgument: There is none of that name; with the wire's text.

    Source: Wire contract 5.7.
    """
    specs = KernelSpecManager()
    try:
        return specs.get_kernel_spec(name)
    except (NoSuchKernel, ValueError, OSError) as error:
        known = json.dumps(sorted(specs.find_kernel_specs()), separators=(",", ":"))
        raise InvalidArgument(
            f'**Unable to Spawn Jupyter Kernel:**\n\nError: No spec available for kernel "{name[:100]}".  '
            f"Available specs: {known} \n\nTry this in a terminal to help debug this (or contact support): "
            f"`jupyter console --kernel={name[:100]}`\n\n"
            "Once you fix the problem, explicitly restart this kernel to test here."
        ) from error


def is_ours(spec: KernelSpec) -> bool:
    """Whether a kernel is the Python that we run on, unchanged: one that the template can become."""
    return (
        spec.argv[1:3] == ["-m", "ipykernel_launcher"] and _is_beneath(spec.resource_dir, sys.prefix) and not spec.env
    )


def listing(home: str) -> list[dict[str, Any]]:
    """All kernels, as the wire shows them; what is in the home is named from there.

    Source: Wire contract 5.3.
    """
    specs = KernelSpecManager()
    found = []
    for name in sorted(specs.find_kernel_specs()):
        try:
            spec = specs.get_kernel_spec(name)
        except (NoSuchKernel, ValueError, OSError):  # a file that is none, or is gone
            continue
        entry: dict[str, Any] = {
            "name": name.lower(),
            "display_name": spec.display_name,
            "language": spec.language,
            "env": spec.env,
            "metadata": spec.metadata,
            "resource_dir": _from_home(spec.resource_dir, home),
            "argv": [_from_home(word, home) for word in spec.argv],
        }
        if spec.interrupt_mode != "signal":
            entry["interrupt_mode"] = spec.interrupt_mode
        found.append(entry)
    return found


def _is_beneath(path: str, directory: str) -> bool:
    return Path(path).resolve().is_relative_to(Path(directory).resolve())


def _from_home(text: str, home: str) -> str:
    return text.replace(home, "~")
