"""A throw-away certificate authority with one server and one client, made with the openssl tool.

Nothing here is secret or lasts: the keys live in a test's directory and the certificates two days.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.real_kafka import Tls


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: who signed (`authority`), what a broker shows (`server`), what a client shows."""

    authority: Path
    server: Tls
    client_certificate: Path
    client_key: Path


def make_certificates(directory: Path) -> Certificates:
    """Make the files in `directory`; the server's certificate is for localhost and 127.0.0.1."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = directory / "authority.pem"
    _issue(directory, "authority", ["basicConstraints=critical,CA:TRUE"])
    _issue(directory, "server", ["subjectAltName=DNS:localhost,IP:127.0.0.1"], authority)
    _issue(directory, "client", ["extendedKeyUsage=clientAuth"], authority)
    keystore = directory / "server-keystore.pem"
    keystore.write_text(
        (directory / "server.key").read_text() + (directory / "server.pem").read_text()
    )
    return Certificates(
        authority, Tls(keystore, authority), directory / "client.pem", directory / "client.key"
    )


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
