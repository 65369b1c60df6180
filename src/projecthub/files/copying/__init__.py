"""Copies of whole trees: walked once, planned for each target, made ready beside it, and put in place at once."""

from projecthub.files.copying.applications import Application, stage_many, sync_file_system
from projecthub.files.copying.bases import write_given
from projecthub.files.copying.comparing import compare
from projecthub.files.copying.manifests import SourceSummary
from projecthub.files.copying.pairs import copy_path, is_settled, settle
from projecthub.files.copying.plan_files import PlannedFile, PlanSummary, planned_files
from projecthub.files.copying.policies import Action, Status
from projecthub.files.copying.records import Record, discard, record_path, records_of
from projecthub.files.copying.undoing import UndoSummary, undo
from projecthub.files.copying.walking import End, walk

__all__ = [
    "Action",
    "Application",
    "End",
    "PlanSummary",
    "PlannedFile",
    "Record",
    "SourceSummary",
    "Status",
    "UndoSummary",
    "compare",
    "copy_path",
    "discard",
    "is_settled",
    "planned_files",
    "record_path",
    "records_of",
    "settle",
    "stage_many",
    "sync_file_system",
    "undo",
    "walk",
    "write_given",
]
