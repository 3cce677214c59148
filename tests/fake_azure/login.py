"""The login service: discovery documents, tokens for a client secret or an assertion, and what a token is worth.

As much of it as azure-identity asks for; errors carry the codes of the real service.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from tests.fake_azure import errors
from tests.fake_azure.errors import ArmError
from tests.fake_azure.knobs import Knobs
from tests.fake_azure.site import Site

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_TOKENS = 1000


class Login:
    """Hands out tokens and checks them."""

    def __init__(self, site: Site, knobs: Callable[[], Knobs], now: Callable[[], float]) -> None:
        self.site = site
        self.asked: Counter[str] = Counter()  # grants and their outcomes
        self.scopes: list[str] = []
        self.secret_expired = False
        self._knobs = knobs
        self._now = now
        self._ends_s: dict[str, float] = {}
        self._lock = threading.Lock()

    def check(self, authorization: str, now: float) -> None:
        """Raises ArmError for a token that is missing, unknown or too old."""
        kind, _, token = authorization.partition(" ")
        if kind != "Bearer" or not token:
            text = "Authentication failed. The 'Authorization' header is missing."
            raise ArmError(errors.unauthenticated(text, "AuthenticationFailed"))
        ends_s = self._ends_s.get(token)
        if ends_s is None:
            raise ArmError(errors.unauthenticated("The access token is invalid."))
        if now >= ends_s:
            text = "The access token expiry UTC time is earlier than now."
            raise ArmError(errors.unauthenticated(text, "ExpiredAuthenticationToken"))

    def revoke(self) -> None:
        """No token that was handed out is worth anything now."""
        with self._lock:
            self._ends_s.clear()

    def new_token(self) -> dict[str, Any]:
        life_s = self._knobs().token_life_s
        token = f"fake.{secrets.token_hex(24)}"
        with self._lock:
            if len(self._ends_s) >= MAX_TOKENS:
                del self._ends_s[next(iter(self._ends_s))]
            self._ends_s[token] = self._now() + life_s
        return {"token_type": "Bearer", "expires_in": int(life_s), "ext_expires_in": int(life_s), "access_token": token}

    # ------------------------------------------------------------------------------------------------------------- paths

    def answer(self, method: str, path: str, form: Mapping[str, str], base_url: str) -> tuple[int, dict[str, Any]] | None:
        """Status and body; None when the path is none of the login service."""
        tenant = f"/{self.site.tenant}"
        if method == "GET" and path == f"{tenant}/v2.0/.well-known/openid-configuration":
            return 200, self._configuration(base_url)
        if method == "GET" and path == "/common/discovery/instance":
            return 200, self._instances(base_url)
        if method == "POST" and path == f"{tenant}/oauth2/v2.0/token":
            return self._grant(form)
        if path.endswith(("/oauth2/v2.0/token", "/openid-configuration")):
            return _refused(400, "invalid_request", 90002, "Tenant not found.")
        return None

    def _configuration(self, base_url: str) -> dict[str, Any]:
        base = f"{base_url}/{self.site.tenant}"
        return {
            "issuer": f"{base}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["code"],
            "jwks_uri": f"{base}/discovery/v2.0/keys",
        }

    def _instances(self, base_url: str) -> dict[str, Any]:
        host = base_url.removeprefix("https://")
        endpoint = f"{base_url}/{self.site.tenant}/v2.0/.well-known/openid-configuration"
        entry = {"preferred_network": host, "preferred_cache": host, "aliases": [host]}
        return {"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": [entry]}

    def _grant(self, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        status, answer = self._decide(form)
        self.asked["granted" if status == 200 else answer["error_description"].partition(":")[0]] += 1
        return status, answer

    def _decide(self, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        self.scopes = [*self.scopes[-99:], form.get("scope", "")]
        if form.get("grant_type") != "client_credentials" or not form.get("scope", "").split(" ")[0].endswith("/.default"):
            text = "grant_type client_credentials and a scope that ends in /.default are needed."
            return _refused(400, "invalid_request", 900144, text)
        if form.get("client_id") != self.site.client_id:
            return _refused(400, "unauthorized_client", 700016, "Application was not found in the directory.")
        if self.secret_expired:
            return _refused(401, "invalid_client", 7000222, "The provided client secret keys for the app are expired.")
        asserted = form.get("client_assertion_type") == ASSERTION and form.get("client_assertion", "").count(".") == 2
        if not asserted and form.get("client_secret") != self.site.client_secret:
            return _refused(401, "invalid_client", 7000215, "Invalid client secret provided.")
        return 200, self.new_token()


def _refused(status: int, error: str, code: int, text: str) -> tuple[int, dict[str, Any]]:
    description = f"AADSTS{code}: {text} Trace ID: fake Correlation ID: fake"
    return status, {"error": error, "error_description": description, "error_codes": [code]}
