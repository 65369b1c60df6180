"""Keys of requests: wrong ones are slowed, limits on calls are kept, and nothing but a digest is ever looked up."""

from __future__ import annotations

from typing import Any

import pytest
from house import House
from sqlalchemy import event
from sqlalchemy.engine import Engine

from projecthub.errors import RateLimited
from projecthub.hub.admission import WRONG_KEYS, network_of
from projecthub.hub.keys import digest
from projecthub.hub.principals import Principal
from projecthub.wire import shapes

ELSEWHERE = "192.0.2.7"


async def try_wrong_keys(house: House, address: str | None, count: int = WRONG_KEYS.burst) -> None:
    for number in range(count):
        assert await house.admission.admit(f"sk-wrong{number}", address) is None


async def test_too_many_wrong_keys_from_one_address(house: House, ann: Principal) -> None:
    _, secret = await house.key(ann)
    await try_wrong_keys(house, ELSEWHERE)
    for given in ("sk-wrong", secret):
        with pytest.raises(RateLimited, match="wrong API keys") as refused:
            await house.admission.admit(given, ELSEWHERE)
        assert refused.value.retry_after_s == 1
    assert await house.admission.admit(secret, "192.0.2.8") is not None
    assert await house.admission.admit(secret, ELSEWHERE) is not None, "a key that was right is not shut out"
    house.clock.advance(seconds=WRONG_KEYS.every_s)
    assert await house.admission.admit("sk-wrong", ELSEWHERE) is None


async def test_a_key_that_has_ended_is_a_wrong_one_again(house: House, ann: Principal) -> None:
    key_id, secret = await house.key(ann)
    assert await house.admission.admit(secret, ELSEWHERE) is not None
    await house.keys.revoke(ann, key_id)
    await try_wrong_keys(house, ELSEWHERE, WRONG_KEYS.burst - 1)
    assert await house.admission.admit(secret, ELSEWHERE) is None
    with pytest.raises(RateLimited):
        await house.admission.admit(secret, ELSEWHERE)


@pytest.mark.parametrize("address", [None, "127.0.0.1", "::1", "::ffff:127.0.0.1", "testserver"])
async def test_requests_of_nowhere_in_particular_are_not_counted(house: House, address: str | None) -> None:
    await try_wrong_keys(house, address, WRONG_KEYS.burst + 1)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", None),
        ("unix:", None),
        ("192.0.2.7, 10.0.0.1", None),
    ],
)
def test_what_counts_as_one_address(address: str, network: str | None) -> None:
    assert network_of(address) == network


async def test_a_limit_on_calls(house: House, ann: Principal) -> None:
    _, secret = await house.key(ann, calls_per_minute=3)
    _, other = await house.key(ann)
    for _ in range(3):
        assert await house.admission.admit(secret, None) is not None
    with pytest.raises(RateLimited, match="3 times a minute") as refused:
        await house.admission.admit(secret, None)
    assert refused.value.retry_after_s == 20
    assert await house.admission.admit(other, None) is not None
    house.clock.advance(seconds=20)
    assert await house.admission.admit(secret, None) is not None
    with pytest.raises(RateLimited):
        await house.admission.admit(secret, None)


async def test_a_new_limit_counts_at_once(house: House, ann: Principal) -> None:
    key_id, secret = await house.key(ann)
    for _ in range(5):
        assert await house.admission.admit(secret, None) is not None
    await house.keys.update(ann, shapes.UpdateKey(id=key_id, calls_per_minute=1))
    assert await house.admission.admit(secret, None) is not None
    with pytest.raises(RateLimited):
        await house.admission.admit(secret, None)
    await house.keys.update(ann, shapes.UpdateKey(id=key_id, calls_per_minute=0))
    assert await house.admission.admit(secret, None) is not None


async def test_how_many_right_keys_are_remembered(
    house: House, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projecthub.hub.admission._MAX_RIGHT", 2)
    for secret in [(await house.key(ann))[1] for _ in range(4)]:
        assert await house.admission.admit(secret, None) is not None
    assert len(house.admission._right) == 2


async def test_a_key_is_looked_up_by_its_digest_alone(house: House, ann: Principal) -> None:
    """So that how long it takes tells nothing of a key that begins as another one does."""
    _, secret = await house.key(ann)
    house.keys.forget()
    asked: list[Any] = []

    def listen(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        asked.append(parameters)

    nearly = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    event.listen(Engine, "before_cursor_execute", listen)
    try:
        assert await house.admission.admit(nearly, None) is None
        assert await house.admission.admit(secret, None) is not None
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    assert asked == [(digest(nearly),), (digest(secret),)]
    assert [*house.keys._known] == [*house.admission._right] == [digest(secret)]
