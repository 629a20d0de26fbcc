"""The installation's own keys, made at first start and kept in the state directory: CA, server certificate, SSH client
key, API token. All files are readable by their owner alone."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skyward.api import SERVER_NAME
from skyward.contracts import Files, Ids

_DAY = datetime.timedelta(days=1)
_CA_DAYS = 3650
_SERVER_DAYS = 397


@dataclass(frozen=True, slots=True)
class Keys:
    ca_pem: str
    certificate: Path
    """Server certificate with its key, PEM."""
    ssh_private: bytes
    """OpenSSH PEM."""
    ssh_public: str
    token: str

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate)
        return context


def load_keys(directory: Path, files: Files, ids: Ids, now: float) -> Keys:
    """Read the keys below `directory`, making those that are missing. The server certificate is made anew 30 days before it
    ends; the CA stays, so clients need no new configuration."""
    ca_file, server_file = directory / "ca.pem", directory / "server.pem"
    ssh_file, token_file = directory / "ssh", directory / "token"
    today = datetime.datetime.fromtimestamp(now, tz=datetime.UTC)
    if not ca_file.exists():
        files.write(ca_file, _make_ca(today))
    ca = ca_file.read_bytes()
    ca_certificate = x509.load_pem_x509_certificate(ca)
    if not server_file.exists() or _ends(server_file) < today + 30 * _DAY:
        files.write(server_file, _make_server(ca, ca_certificate, today))
    if not ssh_file.exists():
        files.write(ssh_file, _pem(ed25519.Ed25519PrivateKey.generate(), serialization.PrivateFormat.OpenSSH))
    if not token_file.exists():
        files.write(token_file, ids.token().encode())
    private = serialization.load_ssh_private_key(ssh_file.read_bytes(), password=None)
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return Keys(
        ca_pem=ca_certificate.public_bytes(serialization.Encoding.PEM).decode(),
        certificate=server_file,
        ssh_private=ssh_file.read_bytes(),
        ssh_public=public.decode(),
        token=token_file.read_text().strip(),
    )


def _make_ca(today: datetime.datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "skyward installation CA")])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key.public_key(), today, _CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + _pem(key, serialization.PrivateFormat.PKCS8)


def _make_server(ca: bytes, ca_certificate: x509.Certificate, today: datetime.datetime) -> bytes:
    ca_key = serialization.load_pem_private_key(ca, password=None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    names = [
        x509.DNSName(SERVER_NAME),
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME)])
    certificate = (
        _builder(subject, ca_certificate.subject, key.public_key(), today, _SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + _pem(key, serialization.PrivateFormat.PKCS8)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, today: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - _DAY)  # a node's clock may be behind ours
        .not_valid_after(today + days * _DAY)
    )


def _ends(path: Path) -> datetime.datetime:
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def _pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, form: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
