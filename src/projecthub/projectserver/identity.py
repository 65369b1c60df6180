"""Who a project server is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from projecthub.wire.ids import ProjectId


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a project server is told when it starts.

    Attributes:
        project_id: Whose server it is.
        epoch: Number of this start of the project.
        session_id: A uuid of its own for every run.
        home: The project's home, as the server sees it.
        environment: Variables that the project's people have set; they win over our own.
    """

    project_id: ProjectId
    epoch: int
    session_id: str
    home: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def user(self) -> str:
        """The project's user name: its id without dashes.

        Source: Wire contract 2.6.
        """
        return self.project_id.replace("-", "")
