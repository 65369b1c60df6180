"""The table of tables: everything that user queries (`db.userQuery`) may read and set, and by whom.

A query names a table and shows fields of it; `hub.queries` holds it to what is declared here, and knows no table by
name. What is not declared does not exist.

To add a table:

1. Write a file beside this one, named after its noun. Declare each field with its column, its kind and, if it can be
   set, its rule (`declaring.plain`, `moment`, `mapping_of`, `absent`; `a_text`, `a_flag` or a function of your own).
2. Write ``rows``: ask the store for those rows that the caller may see, and for no others. That is the only place where
   the right to read is decided: begin with `rules.may_read` where a project is named, and select by membership or by
   the caller's account where none is, by an index that begins with one of them (`store.expressions.Following`).
3. If rows can be set, write ``change``: check the right (`rules.may_change`) and apply the fields' rules
   (`declaring.new_values`) in one transaction, and note it in the project's log. The same for ``delete``.
4. Make a `Table` of it, and add it to `TABLES` below. Tests draw queries at random from this declaration.

Source: Wire contract 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from projecthub.hub.tables.accounts import ACCOUNTS
from projecthub.hub.tables.declaring import Table, Tools
from projecthub.hub.tables.file_use import FILE_USE
from projecthub.hub.tables.invite_requests import INVITE_REQUESTS
from projecthub.hub.tables.invite_tokens import INVITE_TOKENS
from projecthub.hub.tables.licenses import SITE_LICENSES
from projecthub.hub.tables.log import PROJECT_LOG, PROJECT_LOG_ALL
from projecthub.hub.tables.messages import MESSAGES
from projecthub.hub.tables.people import ACCOUNT_PROFILES, COLLABORATORS, COLLABORATORS_ONE_PROJECT
from projecthub.hub.tables.projects import AVATARS, PROJECTS, PROJECTS_ADMIN, PROJECTS_ALL, PROJECTS_OWNER
from projecthub.hub.tables.shares import PUBLIC_PATHS, PUBLIC_PATHS_BY_ID

__all__ = ["TABLES", "Table", "Tools"]

TABLES: Final[Mapping[str, Table]] = {
    table.name: table
    for table in (
        PROJECTS,
        PROJECTS_ALL,
        PROJECTS_ADMIN,
        PROJECTS_OWNER,
        AVATARS,
        ACCOUNTS,
        ACCOUNT_PROFILES,
        COLLABORATORS,
        COLLABORATORS_ONE_PROJECT,
        PROJECT_LOG,
        PROJECT_LOG_ALL,
        PUBLIC_PATHS,
        PUBLIC_PATHS_BY_ID,
        FILE_USE,
        INVITE_TOKENS,
        INVITE_REQUESTS,
        SITE_LICENSES,
        MESSAGES,
    )
}
