"""The tables, in the words of the house: times are ``*_at``, ids are lower-case uuid texts.

Migrations create them; that both agree is a test. A column that is added here needs a migration beside the others.
"""

from projecthub.store.tables._accounts import SEEN_AT, accounts, name_parts
from projecthub.store.tables._audit import audit_log, audit_open
from projecthub.store.tables._columns import KEY, SERIAL, VALUE, Moment, dump_json, metadata
from projecthub.store.tables._copies import PathText, copy_operations, copy_targets, handouts
from projecthub.store.tables._histories import histories, history_sizes, history_versions
from projecthub.store.tables._invitations import mails, project_invite_tokens
from projecthub.store.tables._keys import api_keys, idempotency_keys
from projecthub.store.tables._licenses import license_uses, licenses
from projecthub.store.tables._messages import message_copies, messages
from projecthub.store.tables._organizations import organization_members, organizations
from projecthub.store.tables._projects import (
    counters,
    course_projects,
    file_use,
    memberships,
    open_jobs,
    project_log,
    projects,
    templates,
)
from projecthub.store.tables._shares import public_paths
from projecthub.store.tables._sign_in import sign_in_keys, sign_in_tokens
from projecthub.store.tables._snapshots import snapshot_homes, snapshots

__all__ = [
    "KEY",
    "SEEN_AT",
    "SERIAL",
    "VALUE",
    "Moment",
    "PathText",
    "accounts",
    "api_keys",
    "audit_log",
    "audit_open",
    "copy_operations",
    "copy_targets",
    "counters",
    "course_projects",
    "dump_json",
    "file_use",
    "handouts",
    "histories",
    "history_sizes",
    "history_versions",
    "idempotency_keys",
    "license_uses",
    "licenses",
    "mails",
    "memberships",
    "message_copies",
    "messages",
    "metadata",
    "name_parts",
    "open_jobs",
    "organization_members",
    "organizations",
    "project_invite_tokens",
    "project_log",
    "projects",
    "public_paths",
    "sign_in_keys",
    "sign_in_tokens",
    "snapshot_homes",
    "snapshots",
    "templates",
]
