"""Project homes: safe paths, copies between them, disk use."""

from projecthub.files.disk import DiskUse
from projecthub.files.homes import Homes
from projecthub.files.plans import CopyOptions, CopySummary

__all__ = ["CopyOptions", "CopySummary", "DiskUse", "Homes"]
