"""What the API calls: the hub's services, joined by the application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from projecthub.hub.account_deletions import AccountDeletions
    from projecthub.hub.accounts import Accounts
    from projecthub.hub.admission import Admission
    from projecthub.hub.archives import Archives
    from projecthub.hub.audit import Audit
    from projecthub.hub.calls import ProjectCalls
    from projecthub.hub.clock import Clock
    from projecthub.hub.clones import Clones
    from projecthub.hub.collaborators import Collaborators
    from projecthub.hub.copies import Copies
    from projecthub.hub.courses import Courses
    from projecthub.hub.creation import Creation
    from projecthub.hub.exports import Exports
    from projecthub.hub.figures import Figures
    from projecthub.hub.files import Files
    from projecthub.hub.invitations import Invitations
    from projecthub.hub.jobs import Jobs
    from projecthub.hub.jupyter import Jupyter
    from projecthub.hub.jupyter_sessions import JupyterSessions
    from projecthub.hub.keys import Keys
    from projecthub.hub.licenses import Licenses
    from projecthub.hub.messages import Messages
    from projecthub.hub.organizations import Organizations
    from projecthub.hub.project_quotas import ProjectQuotas
    from projecthub.hub.projects import Projects
    from projecthub.hub.queries import Queries
    from projecthub.hub.readiness import Readiness
    from projecthub.hub.rosters import Rosters
    from projecthub.hub.sessions import Sessions
    from projecthub.hub.shared_files import SharedFiles
    from projecthub.hub.shares import Shares
    from projecthub.hub.sign_in import SignIn
    from projecthub.hub.site import Site
    from projecthub.hub.snapshots import Snapshots
    from projecthub.hub.sync import Sync
    from projecthub.hub.templates import Templates
    from projecthub.hub.trash import Trash
    from projecthub.hub.uploads import Uploads


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The hub's services, one a noun."""

    clock: Clock
    keys: Keys
    admission: Admission
    accounts: Accounts
    account_deletions: AccountDeletions
    rosters: Rosters
    sessions: Sessions
    creation: Creation
    clones: Clones
    templates: Templates
    shares: Shares
    shared_files: SharedFiles
    exports: Exports
    projects: Projects
    collaborators: Collaborators
    invitations: Invitations
    copies: Copies
    courses: Courses
    queries: Queries
    licenses: Licenses
    project_quotas: ProjectQuotas
    calls: ProjectCalls
    jobs: Jobs
    files: Files
    sync: Sync
    trash: Trash
    snapshots: Snapshots
    archives: Archives
    uploads: Uploads
    jupyter: Jupyter
    jupyter_sessions: JupyterSessions
    organizations: Organizations
    messages: Messages
    sign_in: SignIn
    audit: Audit
    site: Site
    figures: Figures
    readiness: Readiness
