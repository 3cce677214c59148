"""Users and tokens of an embedded queue, made once and kept in files that only their owner can read.

A new queue has the system's root token, an administrator and an ordinary user. More are made with
``python -m dispatcher.embedded.accounts --data DIR --user NAME``, also while the queue runs.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from .act import Settings
from .resources import TOKENS, USERS, Record
from .store import Store, Transaction
from .tls import write_secret
from .values import new_secret, new_uuid, now

ROOT_FILE = "root.token"
DATABASE_FILE = "queue.sqlite"
READY_FILE = "queue.json"
FIRST_USERS = (("admin", True), ("user", False))


def root_token(folder: Path) -> str:
    """The secret of the system's root token, made at the first start."""
    path = folder / ROOT_FILE
    if not path.exists():
        write_secret(path, new_secret().encode())
    return path.read_text().strip()


def ensure_users(store: Store, folder: Path, settings: Settings) -> None:
    """The system's user, an administrator and an ordinary user, each with a token in a file."""
    with store.write() as transaction:
        if transaction.get(USERS, settings.system_user_uuid) is None:
            _insert_user(transaction, settings, "root", settings.system_user_uuid, is_admin=True)
    for name, is_admin in FIRST_USERS:
        if not token_path(folder, name).exists():
            add_user(store, folder, settings, name, is_admin=is_admin)


def token_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.token"


def add_user(
    store: Store, folder: Path, settings: Settings, name: str, *, is_admin: bool = False, is_active: bool = True
) -> Path:
    """A user with a new token; the user is found again by name. Returns the file of the token."""
    with store.write() as transaction:
        user = next(iter(transaction.find(USERS, "username = ?", [name], limit=1)), None)
        if user is None:
            uuid = new_uuid(settings.cluster_id, USERS.infix)
            user = _insert_user(transaction, settings, name, uuid, is_admin=is_admin, is_active=is_active)
        return _write_token(folder, name, _insert_token(transaction, settings, user["uuid"]))


def add_system_token(store: Store, folder: Path, settings: Settings, name: str) -> Path:
    """One more token of the system's user, such as a second dispatcher has. Returns its file."""
    with store.write() as transaction:
        return _write_token(folder, name, _insert_token(transaction, settings, settings.system_user_uuid))


def _write_token(folder: Path, name: str, token: Record) -> Path:
    path = token_path(folder, name)
    write_secret(path, f"v2/{token['uuid']}/{token['api_token']}".encode())
    return path


def _insert_user(
    transaction: Transaction, settings: Settings, name: str, uuid: str, *, is_admin: bool, is_active: bool = True
) -> Record:
    moment = now()
    user = USERS.blank() | {
        "uuid": uuid,
        "owner_uuid": settings.system_user_uuid,
        "created_at": moment,
        "modified_at": moment,
        "modified_by_user_uuid": settings.system_user_uuid,
        "email": name if name == "root" else f"{name}@{settings.cluster_id}.local",
        "first_name": name,
        "last_name": "" if name == "root" else "User",
        "username": "" if name == "root" else name,
        "is_admin": is_admin,
        "is_active": is_active,
    }
    transaction.insert(USERS, user)
    return user


def _insert_token(transaction: Transaction, settings: Settings, owner_uuid: str) -> Record:
    token = TOKENS.blank() | {
        "uuid": new_uuid(settings.cluster_id, TOKENS.infix),
        "owner_uuid": owner_uuid,
        "api_token": new_secret(),
        "created_at": now(),
    }
    transaction.insert(TOKENS, token)
    return token


def _file_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text) or text == "root":
        raise argparse.ArgumentTypeError("a name is letters, digits, - and _, and not root: root.token is the root token")
    return text


def _cluster_of(folder: Path) -> str:
    """The cluster id with which the folder was last served."""
    try:
        return str(json.loads((folder / READY_FILE).read_text())["cluster_id"])
    except (OSError, ValueError, KeyError):
        return Settings().cluster_id


def main(arguments: list[str] | None = None) -> None:
    """Add a user, or give a known one a new token, and say in which file it stands."""
    parser = argparse.ArgumentParser(prog="python -m dispatcher.embedded.accounts", description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the queue's data folder")
    parser.add_argument("--user", type=_file_name, required=True, help="the user's name, and that of the token's file")
    parser.add_argument("--admin", action="store_true", help="the user may do everything")
    parser.add_argument("--inactive", action="store_true", help="the user may read and nothing else")
    parser.add_argument("--system", action="store_true", help="no user: one more token of the system, named so")
    options = parser.parse_args(arguments)
    settings = Settings(cluster_id=_cluster_of(options.data))
    store = Store(options.data / DATABASE_FILE)
    try:
        if options.system:
            path = add_system_token(store, options.data, settings, options.user)
        else:
            is_active = not options.inactive
            path = add_user(store, options.data, settings, options.user, is_admin=options.admin, is_active=is_active)
    finally:
        store.close()
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
