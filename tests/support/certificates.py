"""A throw-away certificate authority with one server and one client, made with the openssl tool.

Nothing here is secret or lasts: the keys live in a test's directory and the certificates two days.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.real_kafka import Tls


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: who signed (`authority`), what a broker shows (`server`), what a client shows.

    The same again as certificates that were good until yesterday, and an authority that has signed
    nothing.
    """

    authority: Path
    server: Tls
    client_certificate: Path
    client_key: Path
    expired_server: Tls
    expired_client_certificate: Path
    expired_client_key: Path
    stranger: Path


def make_certificates(directory: Path) -> Certificates:
    """Make the files in `directory`; the server's certificate is for localhost and 127.0.0.1."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = directory / "authority.pem"
    _issue(directory, "authority", ["basicConstraints=critical,CA:TRUE"])
    _issue(directory, "server", ["subjectAltName=DNS:localhost,IP:127.0.0.1"], authority)
    _issue(directory, "client", ["extendedKeyUsage=clientAuth"], authority)
    _issue(directory, "stranger", ["basicConstraints=critical,CA:TRUE"])
    _expire(directory, "server", "subjectAltName=DNS:localhost,IP:127.0.0.1", authority)
    _expire(directory, "client", "extendedKeyUsage=clientAuth", authority)
    return Certificates(
        authority,
        Tls(_keystore(directory, "server"), authority),
        directory / "client.pem",
        directory / "client.key",
        Tls(_keystore(directory, "expired-server"), authority),
        directory / "expired-client.pem",
        directory / "expired-client.key",
        directory / "stranger.pem",
    )


def _keystore(directory: Path, name: str) -> Path:
    keystore = directory / f"{name}-keystore.pem"
    keystore.write_text(
        (directory / f"{name}.key").read_text() + (directory / f"{name}.pem").read_text()
    )
    return keystore


def _expire(directory: Path, name: str, extension: str, signer: Path) -> None:
    """Make what `_issue` makes, but good until yesterday."""
    key, request = directory / f"expired-{name}.key", directory / f"expired-{name}.csr"
    command = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"]
    command += ["-keyout", str(key), "-out", str(request)]
    subprocess.run(command, check=True, capture_output=True)
    extensions = directory / f"expired-{name}.ext"
    extensions.write_text(f"basicConstraints=critical,CA:FALSE\n{extension}\n")
    command = ["openssl", "x509", "-req", "-in", str(request), "-days", "-1"]
    command += ["-CA", str(signer), "-CAkey", str(signer.with_suffix(".key")), "-CAcreateserial"]
    command += ["-extfile", str(extensions), "-out", str(directory / f"expired-{name}.pem")]
    subprocess.run(command, check=True, capture_output=True)


def _issue(directory: Path, name: str, extensions: list[str], signer: Path | None = None) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", str(directory / f"{name}.key"), "-out", str(directory / f"{name}.pem")]
    command += ["-subj", f"/CN={name}"]
    for extension in extensions:
        command += ["-addext", extension]
    if signer is not None:
        command += ["-CA", str(signer), "-CAkey", str(signer.with_suffix(".key"))]
        command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, check=True, capture_output=True)
