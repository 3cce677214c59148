"""The queue's own certificate: made once per data folder, signed by itself, for this host only.

Clients are told to trust this one file, or not to verify; the private key is readable by its owner alone.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID = timedelta(days=3650)
_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
_NAMES = ("localhost",)
_ADDRESSES = ("127.0.0.1", "::1")


def ensure_certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """The files of certificate and key in a folder, made if they are missing."""
    certificate, key = folder / "certificate.pem", folder / "certificate.key"
    if not (certificate.exists() and key.exists()):
        private, public = _make(host)
        write_secret(key, private)
        certificate.write_bytes(public)
    return certificate, key


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that nobody else can read, at once as a whole."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _make(host: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Cloud Dispatcher embedded queue")])
    start = datetime.now(UTC) - timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_KEY_USAGE, critical=True)
        .add_extension(x509.SubjectAlternativeName(_alternative_names(host)), critical=False)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _alternative_names(host: str) -> list[x509.GeneralName]:
    addresses, names = list(_ADDRESSES), list(_NAMES)
    try:
        ipaddress.ip_address(host)
        addresses.append(host)
    except ValueError:
        names.append(host)
    found: list[x509.GeneralName] = [x509.DNSName(each) for each in dict.fromkeys(names)]
    return found + [x509.IPAddress(ipaddress.ip_address(each)) for each in dict.fromkeys(addresses)]


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
