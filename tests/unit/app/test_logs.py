from __future__ import annotations

import pytest

from projecthub.logs import LossyStream


def test_lines_that_cannot_be_written_are_lost() -> None:
    refused = 0
    with pytest.raises(OSError), open("/dev/full", "w") as full:  # as it is closed
        stream = LossyStream(full)
        for _ in range(1000):
            stream.write("a line that is long enough to fill what is buffered\n")
            stream.flush()
            refused += 1
    assert refused == 1000
