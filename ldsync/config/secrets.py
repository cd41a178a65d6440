"""Secrets from files: they know their file, which may hold another one later."""

from pathlib import Path

from pydantic import SecretStr


class FileSecret(SecretStr):
    """A secret that was read from a file, which may hold another one later.

    Attributes:
        file: Where it was read.
    """

    def __init__(self, value: str, file: Path) -> None:
        super().__init__(value)
        self.file = file


def read_secret(file: Path) -> str:
    """The secret in a file. Line breaks at the end are what editors leave, and removed.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not text in UTF-8.
    """
    return file.read_text(encoding="utf-8").rstrip("\r\n")
