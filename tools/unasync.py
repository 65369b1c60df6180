"""Write the sync client from the async one: ``client/_async`` to ``client/_sync``.

``--check`` writes nothing and exits with 1 if a file of the sync side is not what this would write.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).resolve().parent.parent / "src" / "projecthub" / "client"
HEADER = "# Written by tools/unasync.py from client/_async; change it there.\n"
# Ruff finds out by itself only after the files are there.
OURS = '--config=lint.isort.known-first-party=["projecthub"]'

WORDS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # What is awaited stands in brackets before it is looked into; the sync side needs none.
        (r"\(await ([\w.]+\((?:[^()]|\([^()]*\))*\))\)(?=[\[.])", r"\1"),
        (r"\basync (def|with|for)\b", r"\1"),
        (r"\bawait ", ""),
        (r"\bAsync(?=[A-Z])", ""),
        (r"(?<=client\.)_async\b", "_sync"),
        (r"\basyncio\b", "time"),
        (r"\ba(close|read|iter_bytes)\b", r"\1"),
        (r"\basynccontextmanager\b", "contextmanager"),
        (r"\b__a(enter|exit|iter)__\b", r"__\1__"),
    )
]


def to_sync(source: str) -> str:
    """The sync text of an async module, sorted and formatted."""
    for pattern, replacement in WORDS:
        source = pattern.sub(replacement, source)
    sorted_source = ruff("check", "--select=I", "--fix", OURS, "--quiet", "-", text=HEADER + source)
    return ruff("format", "--quiet", "-", text=sorted_source)


def ruff(*arguments: str, text: str) -> str:
    """Ruff's answer to a text, as of a file of the sync side."""
    command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", str(CLIENT / "_sync" / "module.py")]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def main(arguments: list[str]) -> int:
    """Write the files, or check them."""
    target = CLIENT / "_sync"
    wanted = {path.name: to_sync(path.read_text()) for path in sorted((CLIENT / "_async").glob("*.py"))}
    present = {path.name: path.read_text() for path in target.glob("*.py")}
    if "--check" in arguments:
        stale = sorted(name for name in wanted | present if wanted.get(name) != present.get(name))
        for name in stale:
            print(f"stale: {target / name}; run python tools/unasync.py", file=sys.stderr)
        return 1 if stale else 0
    target.mkdir(exist_ok=True)
    for name, text in wanted.items():
        (target / name).write_text(text)
    for name in present.keys() - wanted.keys():
        (target / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
