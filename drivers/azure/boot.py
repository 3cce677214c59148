"""What a new machine is given to run first: the dispatcher's key for its login user, its own host key, the init script.

Pure: keys come in as text, bytes for ``customData`` go out. The host key travels in a part that cloud-init reads before the SSH
server starts, so that the machine is known from its first answer on.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field

from dispatcher.driver import Misconfigured

MAX_CUSTOM_DATA = 65535
SHEBANG = "#!/bin/sh\n"
BOUNDARY = "==cloud-dispatcher=="


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """An SSH key: ``public`` as in an authorized_keys line without comment, ``private`` as OpenSSH text, never shown."""

    public: str
    private: str = field(repr=False)


def custom_data(init_script: str, *, authorize: tuple[str, str] | None, host_key: KeyPair | None) -> bytes:
    """``authorize``: (user, public key) to let in by script. Raises Misconfigured when it is more than Azure takes."""
    script = SHEBANG + (_authorizing(*authorize) if authorize else "") + init_script.removeprefix(SHEBANG)
    data = (script if host_key is None else _in_parts(script, host_key)).encode()
    if len(data) > MAX_CUSTOM_DATA:
        text = f"the first commands of an instance have {len(data)} bytes; Azure takes {MAX_CUSTOM_DATA}"
        raise Misconfigured("", f"{text}: shorten InstanceInitCommand")
    return data


def _authorizing(user: str, public_key: str) -> str:
    """Lines that let the key in as this user, whatever else may log in already."""
    home = "/root" if user == "root" else f"$(getent passwd {shlex.quote(user)} | cut -d: -f6)"
    key = shlex.quote(public_key.strip())
    return (
        f'(umask 077; home="{home}"; mkdir -p "$home/.ssh" && printf \'\\n%s\\n\' {key} >> "$home/.ssh/authorized_keys"'
        f' && chown -R {shlex.quote(user)}: "$home/.ssh")\n'
    )


def _in_parts(script: str, host_key: KeyPair) -> str:
    config = {
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": host_key.private, "ed25519_public": host_key.public},
    }
    parts = [("text/cloud-config", "#cloud-config\n" + json.dumps(config)), ("text/x-shellscript", script)]
    body = "".join(f"--{BOUNDARY}\nContent-Type: {kind}; charset=utf-8\n\n{text}\n" for kind, text in parts)
    return f'Content-Type: multipart/mixed; boundary="{BOUNDARY}"\nMIME-Version: 1.0\n\n{body}--{BOUNDARY}--\n'
