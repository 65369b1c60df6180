from __future__ import annotations

import pytest

from projecthub.logs import LossyStream


def test_lines_that_cannot_be_written_are_lost() -> None:
    full = open("/dev/full", "w")
    stream = LossyStream(full)
    for _ in range(1000):
        stream.write("a line that is long enough to fill what is buffered\n")
        stream.flush()
    with pytest.raises(OSError):
        full.close()
