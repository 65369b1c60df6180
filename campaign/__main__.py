"""`make campaign`: random lifecycles by several clients while processes are killed; then everything must agree."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from campaign.course import Course
from campaign.plan import make_plan
from campaign.unprivileged import become


def main() -> int:
    """Run a campaign; 0 if everything holds."""
    parser = argparse.ArgumentParser(prog="python -m campaign", description=__doc__)
    parser.add_argument("--lifecycles", type=int, default=600, help="how many, over all clients (default 600)")
    parser.add_argument("--clients", type=int, default=6, help="how many work at the same time (default 6)")
    parser.add_argument("--faults", type=int, help="how many things break (default: a third of the lifecycles)")
    parser.add_argument("--seed", type=int, help="the same seed gives the same plan (default: drawn, and printed)")
    parser.add_argument("--isolation", choices=("auto", "none"), default="auto", help="as for `projecthub serve`")
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite", help="where the hub remembers")
    parser.add_argument("--crowd", type=int, default=0, help="start so many further projects at once (default none)")
    parser.add_argument("--minutes", type=float, help="repeat with further seeds until this time is over")
    parser.add_argument("--noticed-within", type=float, default=1.0, help="seconds until a death is seen (default 1)")
    parser.add_argument("--as-user", type=int, metavar="UID", help="as root: become this user first")
    options = parser.parse_args()
    if options.as_user is not None:
        become(options.as_user)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    until = time.monotonic() + 60 * (options.minutes or 0)
    failed = False
    while True:
        plan = make_plan(seed=seed, lifecycles=options.lifecycles, clients=options.clients, faults=options.faults)
        scratch = Path(tempfile.mkdtemp(prefix="projecthub-campaign-", dir="/tmp"))
        course = Course(
            plan,
            scratch,
            isolation=options.isolation,
            store=options.store,
            within_s=options.noticed_within,
            crowd=options.crowd,
        )
        try:
            print(
                f"seed {seed}: {options.lifecycles} lifecycles, {plan.steps} steps, {len(plan.faults)} faults planned"
            )
            audit = course.run()
            print(course.summary(audit), flush=True)
        finally:
            course.close()
            shutil.rmtree(scratch, ignore_errors=True)
        failed = failed or bool(audit.violations)
        seed += 1
        if time.monotonic() >= until:
            return int(failed)


if __name__ == "__main__":
    sys.exit(main())
