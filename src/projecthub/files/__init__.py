"""Project homes: safe paths, copies between them, what is read and written in them, trash, disk use."""

from projecthub.files.changes import Home
from projecthub.files.disk import DiskUse
from projecthub.files.homes import Homes
from projecthub.files.places import SEEN_HOME
from projecthub.files.plans import CopyOptions, CopySummary, Policy
from projecthub.files.space import Allowance

__all__ = ["SEEN_HOME", "Allowance", "CopyOptions", "CopySummary", "DiskUse", "Home", "Homes", "Policy"]
