"""The certificates of a cluster with mutual TLS, signed by an authority of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from temporalio.service import TLSConfig

# The name in the server's certificate; `deploy/temporal/tls.env` has the same.
SERVER = "temporal"
LASTS = timedelta(days=825)
# Certificates are backdated by this much, since clocks differ.
SKEW = timedelta(minutes=10)
# Renew them this long before they expire.
RENEW = timedelta(days=30)


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def authority(cls, name: str) -> KeyPair:
        """A self-signed certificate authority."""
        return _signed(name, None, datetime.now(UTC), LASTS)

    @classmethod
    def read(cls, folder: Path, name: str) -> KeyPair:
        """Read a pair that `write` wrote."""
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / f"{name}.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(certificate, key)

    def issue(self, name: str, lasts: timedelta = LASTS, begins: datetime | None = None) -> KeyPair:
        """A certificate for `name`, signed by this one."""
        return _signed(name, self, begins or datetime.now(UTC), lasts)

    def write(self, folder: Path, name: str) -> None:
        """Write `name.pem`, and `name.key` with permissions for the owner only."""
        pem = serialization.Encoding.PEM
        (folder / f"{name}.pem").write_bytes(self.certificate.public_bytes(pem))
        key = folder / f"{name}.key"
        key.touch(mode=0o600)
        key.write_bytes(
            self.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )


class Certificates:
    """The certificates of a cluster in `folder`: `ca`, `server` and `client`, each as `.pem` and `.key`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self) -> None:
        """Make them if they are missing or about to expire."""
        if self._are_good():
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = KeyPair.authority("hibernaut cluster")
        for name in ("server", "client"):
            authority.issue(SERVER if name == "server" else name).write(self.folder, name)
        # Last: `ca.pem` marks the set as complete.
        authority.write(self.folder, "ca")

    def environment(self) -> dict[str, str]:
        """Environment variables that give a client its certificate, as the SDK's envconfig reads them."""
        return {
            "TEMPORAL_TLS": "true",
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(self.folder / "ca.pem"),
            "TEMPORAL_TLS_CLIENT_CERT_PATH": str(self.folder / "client.pem"),
            "TEMPORAL_TLS_CLIENT_KEY_PATH": str(self.folder / "client.key"),
            "TEMPORAL_TLS_SERVER_NAME": SERVER,
        }

    def config(self) -> TLSConfig:
        """The same, for a client in this process."""
        return TLSConfig(
            server_root_ca_cert=(self.folder / "ca.pem").read_bytes(),
            client_cert=(self.folder / "client.pem").read_bytes(),
            client_private_key=(self.folder / "client.key").read_bytes(),
            domain=SERVER,
        )

    def _are_good(self) -> bool:
        try:
            found = x509.load_pem_x509_certificate((self.folder / "ca.pem").read_bytes())
        except (OSError, ValueError):
            return False
        return found.not_valid_after_utc - datetime.now(UTC) > RENEW


def _signed(name: str, by: KeyPair | None, begins: datetime, lasts: timedelta) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))])
    signer = by.key if by else key
    public = signer.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - SKEW)
        .not_valid_after(begins + lasts)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    if by:
        # The roles use one certificate, both as servers and as each other's clients.
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(names, critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return KeyPair(builder.sign(signer, hashes.SHA256()), key)
