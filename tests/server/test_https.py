"""`llmasos serve` over https: a certificate of its own making, and files that are none."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from doubles.serving import served


@dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return made_pair(tmp_path_factory.mktemp("pair"))


def made_pair(folder: Path) -> Pair:
    pair = Pair(folder / "certificate.pem", folder / "key.pem")
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(pair.key), "-out", str(pair.certificate)]
    subprocess.run(["openssl", "req", *kind, *names, *files], check=True, capture_output=True)
    return pair


def test_who_trusts_its_certificate_is_answered(served_home: Path, pair: Pair):
    with served("--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key)) as server:
        trusting = ssl.create_default_context(cafile=str(pair.certificate))
        connection = http.client.HTTPSConnection("localhost", server.port, context=trusting, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            http.client.HTTPSConnection("localhost", server.port, timeout=20).request("GET", "/health")
        with pytest.raises((http.client.BadStatusLine, ConnectionError)):
            server.ask("GET", "/health")  # in plain HTTP


def test_files_that_are_no_certificate_are_told(llmasos, pair: Pair, tmp_path: Path):
    other, empty, locked = made_pair(tmp_path), tmp_path / "empty.pem", tmp_path / "locked.pem"
    empty.write_text("")
    command = ["openssl", "pkey", "-in", str(pair.key), "-aes256", "-passout", "pass:x", "-out", str(locked)]
    subprocess.run(command, check=True)
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for certificate, key, told in (
        (pair.certificate, None, f"there is no key in {pair.certificate}"),
        (pair.key, pair.key, f"there is no certificate in {pair.key}"),
        (empty, pair.key, f"there is no certificate in {empty}"),
        (pair.certificate, other.key, f"the key in {other.key} is of another certificate than {pair.certificate}"),
        (pair.certificate, locked, f"the key in {locked} wants a password"),
        (pair.certificate, tmp_path, f"can't read {tmp_path}: Is a directory"),
        (broken, pair.key, "the certificate can't be used"),
    ):
        keys = ["--tls-key", str(key)] if key else []
        result = llmasos("serve", "--port", "0", "--tls-certificate", str(certificate), *keys, timeout=20)
        assert (result.exit_code, result.stdout) == (5, "")
        assert result.stderr.startswith(f"error: {told}")
