from __future__ import annotations

import ssl
import time
from pathlib import Path

from cryptography import x509

from skyward.api import SERVER_NAME
from skyward.system.clock import SystemIds
from skyward.system.files import SystemFiles
from skyward.system.keys import load_keys

DAY = 86400


def test_keys_are_made_once_and_readable_by_their_owner_alone(tmp_path: Path) -> None:
    first = load_keys(tmp_path, SystemFiles(), SystemIds(), time.time())

    again = load_keys(tmp_path, SystemFiles(), SystemIds(), time.time())

    assert again == first
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_server_certificate_is_renewed_before_it_ends_and_the_ca_stays(tmp_path: Path) -> None:
    now = time.time()
    first = load_keys(tmp_path, SystemFiles(), SystemIds(), now)
    before = first.certificate.read_bytes()

    later = load_keys(tmp_path, SystemFiles(), SystemIds(), now + 380 * DAY)

    assert later.ca_pem == first.ca_pem
    assert later.certificate.read_bytes() != before


def test_a_client_that_trusts_the_ca_accepts_the_server_by_its_name(tmp_path: Path) -> None:
    keys = load_keys(tmp_path, SystemFiles(), SystemIds(), time.time())
    client = ssl.create_default_context(cadata=keys.ca_pem)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=SERVER_NAME)
    theirs = keys.server_context().wrap_bio(to_server, to_client, server_side=True)

    for _ in range(3):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue

    certificate = ours.getpeercert(binary_form=True)
    assert certificate is not None
    assert SERVER_NAME in x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
