"""Builds a hub from settings: the only place where rooms are joined.

================  ==========================================================================
``opening``       opens a hub and closes it
``data_dir``      one hub a data directory, and what is in it for its operator alone
``first_admin``   who can make all others
``machine``       what this machine offers to projects: isolation, user ids, networks
``defaults``      what the operator set, as the rooms want it
================  ==========================================================================
"""

from projecthub.app.data_dir import ADMIN_KEY_FILE, URL_FILE, own_data_dir
from projecthub.app.defaults import quota_defaults, smtp_server
from projecthub.app.machine import uids_of
from projecthub.app.opening import RunningHub, open_hub

__all__ = [
    "ADMIN_KEY_FILE",
    "URL_FILE",
    "RunningHub",
    "open_hub",
    "own_data_dir",
    "quota_defaults",
    "smtp_server",
    "uids_of",
]
