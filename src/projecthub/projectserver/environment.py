"""The environment of what runs in a project. Nothing in it comes from the hub's own."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

from projecthub.projectserver.identity import Identity

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def make_environment(identity: Identity) -> dict[str, str]:
    """The variables of a project's commands; the project's own win over ours.

    Source: Wire contract 2.6.
    """
    home = identity.home
    # Last, so that the machine's own python3 is found first, and ours where there is no other.
    python = str(Path(sys.executable).parent)
    return {
        "HOME": home,
        "USER": identity.user,
        "LOGNAME": identity.user,
        "SHELL": "/bin/bash",
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "PATH": f"{home}/bin:{home}/.local/bin:{_PATH}:{python}",
        "DATA": f"{home}/.smc",
        "LOGS": f"{home}/.smc",
        "COCALC_PROJECT_ID": identity.project_id,
        "COCALC_USERNAME": identity.user,
        "COCALC_EXTRA_ENV": base64.b64encode(json.dumps(dict(identity.environment)).encode()).decode(),
        "PROJECTHUB_PROJECT_ID": identity.project_id,
        **identity.environment,
    }
