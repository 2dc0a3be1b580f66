"""An OpenID Connect issuer on loopback, with rotatable keys and tokens of every good and bad kind."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.serving import Serving

AUDIENCE = "hibernaut"


class LocalIssuer(Serving):
    """Serves its discovery document and its keys, and counts requests."""

    def __init__(self) -> None:
        routes = [Route("/.well-known/openid-configuration", self._discovery), Route("/keys", self._jwks)]
        super().__init__(Starlette(routes=routes))
        self.keys = {"key-1": rsa.generate_private_key(public_exponent=65537, key_size=2048)}
        self.asked = 0
        self.down = False

    @property
    def name(self) -> str:
        return self.address

    def rotate(self, kid: str) -> None:
        """Sign with a new key; the old one is gone."""
        self.keys = {kid: rsa.generate_private_key(public_exponent=65537, key_size=2048)}

    def token(
        self, subject: str, scope: str, *, kid: str = "", algorithm: str = "RS256", **claims: Any
    ) -> str:
        """A valid token, except for what the arguments change."""
        now = int(time.time())
        body = {
            "iss": self.name,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": now,
            "exp": now + 600,
            "scope": scope,
            **claims,
        }
        kid = kid or next(iter(self.keys))
        key: Any = self.keys.get(kid, next(iter(self.keys.values())))
        if algorithm == "none":
            key = None
        return jwt.encode(body, key, algorithm=algorithm, headers={"kid": kid})

    def forged(self, subject: str, scope: str) -> str:
        """HS256 with the public key as secret: fools a verifier that lets the token choose the algorithm."""
        import base64
        import hashlib
        import hmac

        public = next(iter(self.keys.values())).public_key()
        secret = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        now = int(time.time())
        body = {
            "iss": self.name,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": now,
            "exp": now + 600,
            "scope": scope,
        }
        header = {"alg": "HS256", "typ": "JWT", "kid": next(iter(self.keys))}
        parts = [base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in (header, body)]
        mac = hmac.new(secret, b".".join(parts), hashlib.sha256).digest()
        return b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()

    async def _discovery(self, request: Request) -> Response:
        self.asked += 1
        if self.down:
            return Response(status_code=503)
        return JSONResponse({"issuer": self.name, "jwks_uri": f"{self.address}/keys"})

    async def _jwks(self, request: Request) -> Response:
        keys = []
        for kid, key in self.keys.items():
            public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
            keys.append({**public, "kid": kid, "alg": "RS256", "use": "sig"})
        return JSONResponse({"keys": [*keys, {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"}]})
