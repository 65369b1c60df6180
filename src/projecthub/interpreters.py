"""Further processes of this Python."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path


def python_environment() -> dict[str, str]:
    """What a Python of ours needs to start. Nothing else of our environment is handed on."""
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8"}
    package_parent = str(Path(__file__).parent.parent)
    if package_parent != sysconfig.get_path("purelib"):
        environment["PYTHONPATH"] = package_parent
    if (libraries := os.environ.get("LD_LIBRARY_PATH")) is not None:
        environment["LD_LIBRARY_PATH"] = libraries
    return environment


def not_runnable(error: OSError) -> str:
    """What to tell if this Python could not be started once more."""
    return (
        f"the Python that runs this hub cannot be run by a process of its own ({error.strerror}); install projecthub "
        "where the hub's user may read and run it, such as below /opt"
    )
