"""What a call of `system.jupyterExecute` may say, and what is kept of a kernel's output."""

from __future__ import annotations

from typing import Any

import pytest

from projecthub.errors import InvalidArgument
from projecthub.projectserver.jupyter.execution import parse
from projecthub.projectserver.jupyter.outputs import MAX_ITEMS, Outputs, to_json

CODE = {"input": "1", "kernel": "python3"}


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"msg_type": "stream", "content": {"name": name, "text": text}}


def test_what_is_not_said_is_as_the_wire_has_it() -> None:
    options = parse([CODE])
    assert (options.pool_size, options.pool_timeout_s, options.cell_s, options.total_s) == (2, 3600, 30, 45)
    assert (options.history, options.path, options.max_output_bytes) == ("", "", 5_000_000)


def test_history_is_one_piece_of_code() -> None:
    assert parse([CODE | {"history": ["a = 1", "b = 2"]}]).history == "a = 1\nb = 2"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"input": None}, "option 'input' of system.jupyterExecute is missing"),
        ({"input": 1}, "must be a string"),
        ({"kernel": ""}, "cannot spawn since no kernel is set"),
        ({"history": "a"}, "must be a list of strings"),
        ({"pool": 2}, "option 'pool' of system.jupyterExecute must be an object, not 2"),
        ({"pool": {"size": 11}}, "option 'size' of system.jupyterExecute .pool. must be a number above 0"),
        ({"limits": {"timeout_s": float("nan")}}, "option 'timeout_s'"),
        ({"limits": {"max_output_bytes": -1}}, "option 'max_output_bytes'"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        parse([CODE | options])


def test_empty_parts_and_counts_are_left_out() -> None:
    outputs = Outputs(1000)
    content = {"data": {"text/plain": "2"}, "metadata": {}, "execution_count": 1}
    outputs.take({"msg_type": "execute_result", "content": content})
    assert outputs.items == [{"data": {"text/plain": "2"}}]


def test_text_that_comes_in_pieces_is_one_item() -> None:
    outputs = Outputs(1000)
    for piece in (stream("a"), stream("b"), stream("c", "stderr"), stream("d")):
        outputs.take(piece)
    assert [item["text"] for item in outputs.items] == ["ab", "c", "d"]


def test_what_is_too_much_is_dropped_and_said_once() -> None:
    outputs = Outputs(100)
    for piece in (stream("kept"), stream("x" * 100), stream("late")):
        outputs.take(piece)
    kept, said = outputs.items
    assert kept["text"] == "kept"
    assert (said["output_type"], said["name"]) == ("stream", "stderr")
    assert "100 bytes" in said["text"][0]


def test_items_have_a_number_too() -> None:
    outputs = Outputs(10**6)
    for _ in range(MAX_ITEMS + 5):
        outputs.take({"msg_type": "display_data", "content": {"data": {"text/plain": "x"}}})
    assert len(outputs.items) == MAX_ITEMS + 1


def test_other_messages_are_no_output() -> None:
    outputs = Outputs(1000)
    outputs.take({"msg_type": "execute_input", "content": {"code": "1"}})
    assert outputs.items == []


def test_numbers_that_json_has_not_are_null() -> None:
    kept = Outputs(1000)
    infinite = {"data": {"application/json": {"a": [float("nan"), float("-inf"), 1.5]}}}
    kept.take({"msg_type": "display_data", "content": infinite})
    assert to_json(kept.items) == '[{"data": {"application/json": {"a": [null, null, 1.5]}}}]'


def test_the_outcome_is_the_last_error() -> None:
    kept = Outputs(1000)
    assert kept.outcome == "ok"
    kept.take({"msg_type": "error", "content": {"ename": "E" * 1000, "evalue": "", "traceback": []}})
    assert kept.outcome == "E" * 100
    kept.fail("KernelDied", "it died")
    assert kept.outcome == "KernelDied"
