"""Makes SSH keys: the host key that a new machine is given, and a public key whose private half nobody keeps."""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from drivers.azure.boot import KeyPair

_PEM, _SSH = serialization.Encoding.PEM, serialization.Encoding.OpenSSH
_PRIVATE, _PUBLIC = serialization.PrivateFormat.OpenSSH, serialization.PublicFormat.OpenSSH


def new_host_key() -> KeyPair:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(_PEM, _PRIVATE, serialization.NoEncryption()).decode()
    return KeyPair(public=key.public_key().public_bytes(_SSH, _PUBLIC).decode(), private=private)


@cache
def nobodys_public_key() -> str:
    """For an account that Azure demands and nobody may use: RSA, since every image takes it. Drawn once by a process: it takes a
    tenth of a second or more."""
    return generate_private_key(65537, 2048).public_key().public_bytes(_SSH, _PUBLIC).decode()
