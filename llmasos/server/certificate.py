"""The files for https, looked at before anybody is served."""

from __future__ import annotations

import ssl
from pathlib import Path

from llmasos.errors import BadInputError, UsageError

KEYS = "see --tls-certificate, --tls-key"


def require_certificate(certificate: str | None, key: str | None) -> None:
    """Raises UsageError for a key without a certificate, BadInputError for files that are not what they should be."""
    if certificate is None:
        if key is not None:
            raise UsageError("there is a key for https and no certificate", hint="give it with --tls-certificate")
        return
    if "-----BEGIN CERTIFICATE-----" not in _text(certificate):
        raise BadInputError(f"there is no certificate in {certificate}", hint="it is in PEM form, as text")
    words = _text(key or certificate)
    if "PRIVATE KEY-----" not in words:
        raise BadInputError(f"there is no key in {key or certificate}", hint="give the key's file with --tls-key")
    if "ENCRYPTED" in words:
        raise BadInputError(f"the key in {key or certificate} wants a password", hint="openssl pkey takes it off")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BadInputError(f"the key in {key} is of another certificate than {certificate}", hint=KEYS) from error
        raise BadInputError(f"the certificate can't be used: {error.reason or error}", hint=KEYS) from error


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise BadInputError(f"can't read {file}: {error.strerror}", hint=KEYS) from error
