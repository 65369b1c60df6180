"""The first admin, whose key lies in the data directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from projecthub.app.data_dir import ADMIN_KEY_FILE, write_private
from projecthub.errors import Conflict
from projecthub.hub.keys import Keys, digest

if TYPE_CHECKING:
    from projecthub.hub.accounts import Accounts
    from projecthub.settings import Settings
    from projecthub.store import Store

ADMIN_KEY_NAME: Final = "first admin"


async def first_admin(settings: Settings, store: Store, accounts: Accounts, keys: Keys) -> tuple[str | None, bool]:
    """Make sure there is an admin with a key; tells the key that the data directory keeps, and whether it is new.

    Raises:
        Conflict: The key that the operator gave is somebody else's.
    """
    given = settings.admin_key.get_secret_value() if settings.admin_key else None
    file = settings.data_dir / ADMIN_KEY_FILE
    async with store.read() as tx:
        admin = await tx.accounts.any_admin()
        owner = await tx.keys.find(digest(given)) if given else None
    if admin is not None and given is None:
        return (file.read_text().strip() if file.exists() else None), False
    if given is not None and owner is not None:
        if admin is None or owner.key.account_id != admin.account_id or owner.key.expires_at is not None:
            raise Conflict("PROJECTHUB_ADMIN_KEY is a key of another account, or one that expires; give another")
        write_private(file, given)
        return given, False
    async with keys.changing() as tx:
        if admin is None:
            admin = accounts.new(email_address=None, first_name="Admin", is_admin=True)
            await tx.accounts.create(admin)
        for key in await tx.keys.of_account(admin.account_id):
            if key.name == ADMIN_KEY_NAME:  # the operator gave another: it is to be exactly this
                await tx.keys.delete(key.id)
        _, secret = await keys.make(tx, admin.account_id, None, ADMIN_KEY_NAME, secret=given)
        # Written before the transaction ends: a key that nobody has would be worse than a file without its key.
        write_private(file, secret)
    return secret, True
