"""To be another user, even where Python and this checkout lie in places that only root may enter."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.contract.unprivileged import open_the_way

_CHECKOUT = Path(__file__).parents[1]


def become(uid: int) -> None:
    """Be a user of no privileges from here on, in a mount namespace in which that user may read what it needs.

    Args:
        uid: User and group id.
    """
    open_the_way({sys.prefix, sys.base_prefix, str(_CHECKOUT)})
    os.umask(0o022)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.chdir(_CHECKOUT)
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/", "PYTHONPATH": str(_CHECKOUT / "src")}
