"""The dispatcher's own key pair: any private key that OpenSSH or OpenSSL writes, as the SSH library wants it.

The library reads fewer formats than clusters use, so every key is read by ``cryptography`` and handed on in one format. No
error repeats any part of the key.
"""

from __future__ import annotations

import io

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def load_private_key(pem: str) -> paramiko.PKey:
    """Raises ValueError with what is wrong and how to mend it."""
    key = _parse(pem.strip().encode() + b"\n")
    text = io.StringIO(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode())
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return paramiko.Ed25519Key.from_private_key(text)
    if isinstance(key, rsa.RSAPrivateKey):
        return paramiko.RSAKey.from_private_key(text)
    return paramiko.ECDSAKey.from_private_key(text)


def public_key_line(key: paramiko.PKey) -> str:
    """A line for ``authorized_keys``."""
    return f"{key.get_name()} {key.get_base64()}"


def _parse(pem: bytes) -> PrivateKey:
    load = load_ssh_private_key if b"BEGIN OPENSSH" in pem else load_pem_private_key
    try:
        key = load(pem, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        if _is_protected(error):
            raise ValueError("the private key is protected by a passphrase: remove it with ssh-keygen -p") from None
        raise ValueError("not a private key in PEM or OpenSSH format: make one with ssh-keygen -t ed25519") from None
    if not isinstance(key, PrivateKey):
        raise ValueError("the private key is of an old type: make another with ssh-keygen -t ed25519")
    return key


def _is_protected(error: Exception) -> bool:
    """Some versions of the library have no type of error for it, and some speak of a wrong password whatever they cannot read."""
    text = str(error).lower()
    return "password-protected" in text or (isinstance(error, TypeError) and "password" in text)
