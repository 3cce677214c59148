"""Who the dispatcher is for Azure: a credential of azure-identity, asked by one thread at a time and never retried inside.

Twenty threads that need a first token wait for one; those that waited for a failure share it instead of causing the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.identity import (
    AzureCliCredential,
    CertificateCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)

from drivers.azure.parameters import CLOUDS, Parameters

CONNECT_S, READ_S = 10.0, 20.0
PATIENCE_S = 45.0  # for a token that another thread asks for


def open_credential(parameters: Parameters) -> TokenCredential:
    """Makes no call. Raises ValueError when azure-identity does not take a value."""
    login = parameters.login
    known = {cloud.authority for cloud in CLOUDS.values()}
    common: dict[str, Any] = {
        "authority": parameters.place.authority,
        "disable_instance_discovery": parameters.place.authority not in known,
        "connection_verify": parameters.ca_bundle or True,
        **_PATIENCE,
    }
    if login.method == "ClientSecret":
        return ClientSecretCredential(login.tenant_id, login.client_id, login.secret, **common)
    if login.method == "ClientCertificate":
        password = login.certificate_password or None
        return CertificateCredential(login.tenant_id, login.client_id, login.certificate_path, password=password, **common)
    if login.method == "ManagedIdentity":
        return ManagedIdentityCredential(client_id=login.managed_identity_client_id or None, **_PATIENCE)
    if login.method == "AzureCLI":
        return AzureCliCredential(tenant_id=login.tenant_id, process_timeout=int(READ_S))
    named = {"tenant_id": login.tenant_id, "client_id": login.client_id, "token_file_path": login.token_file}
    return WorkloadIdentityCredential(**{name: value for name, value in named.items() if value}, **common)


_PATIENCE: dict[str, Any] = {"retry_total": 0, "connection_timeout": CONNECT_S, "read_timeout": READ_S}


class OneAtATime:
    """A ``TokenCredential`` in front of another, which ``make`` makes. Azure's library keeps a token until it ends: when one is
    refused before, a new credential, which has none, takes its place."""

    def __init__(self, make: Callable[[], TokenCredential], patience_s: float = PATIENCE_S) -> None:
        self._make = make
        self._credential = make()
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._count = threading.Lock()
        self._asked = 0
        self.waiting = 0
        self._failure: AzureError | None = None
        self._refused = False

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        asked_before = self._asked
        if not self._lock.acquire(blocking=False):
            self._wait()
        try:
            if self._asked > asked_before and self._failure is not None:
                raise ClientAuthenticationError(str(self._failure)) from self._failure
            return self._ask(scopes, options)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Ends the connections to the directory."""
        close = getattr(self._credential, "close", None)
        if close is not None:
            close()

    def forget(self) -> None:
        """The token that was given out last is worth nothing."""
        self._refused = True

    def _wait(self) -> None:
        with self._count:
            self.waiting += 1
        try:
            if not self._lock.acquire(timeout=self._patience_s):
                raise ClientAuthenticationError(f"no token within {self._patience_s:g} s")
        finally:
            with self._count:
                self.waiting -= 1

    def _ask(self, scopes: tuple[str, ...], options: dict[str, Any]) -> AccessToken:
        self._failure = None
        if self._refused:
            self.close()
            self._credential, self._refused = self._make(), False
        try:
            return self._credential.get_token(*scopes, **options)
        except AzureError as error:
            self._failure = error
            raise
        finally:
            self._asked += 1
