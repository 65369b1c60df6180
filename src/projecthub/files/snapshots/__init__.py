"""Snapshots of homes: how they are kept on disk, taken, compared, restored and swept."""
