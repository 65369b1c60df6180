"""Copies between projects: one pair of paths at a time, or one path to many and many to one.

Each operation is a row, and so is each of its targets; how far they are is in the store before anybody is told. What
is planned and staged is lost with a hub that is killed, and made again by the next. What is marked as committing is
brought to its end by it.

====================  =============================================================================
``requests``          from what is asked for to pairs of paths
``ground``            what all of these stand on: store, homes, clock, directories
``works``             one operation under way: its progress, its end
``places``            who copies to a place keeps others from it
``planning``          walks sources, compares them with targets
``applying``          stages, marks, commits
``undoing``           puts back what a copy has displaced
``events``            what the logs of projects tell
``operations``        owns what is under way, goes on with it after a restart
``single``            one pair at once
``trimming``          holds what is kept to undo them to its share of the quota
``keeping``           forgets what is too old, or takes too much room
``replies``           what is told of all this
``service``           what the API calls
====================  =============================================================================
"""

from projecthub.hub.copies.ground import COPIED, Shared, no_share
from projecthub.hub.copies.service import Copies

__all__ = ["COPIED", "Copies", "Shared", "no_share"]
