"""The jars of a real Apache Kafka, fetched once through Maven and kept outside the source tree.

The cache directory is named after the hash of `tests/support/kafka/pom.xml`: a second run needs no
network, and a new version gets a directory of its own. The directory appears by one rename when it
is complete, and a file lock lets parallel test processes agree on who fetches.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

POM = Path(__file__).with_name("kafka") / "pom.xml"
OLDEST_JAVA = 17  # Kafka 4 brokers run on nothing older


def cache_directory() -> Path:
    """Where the jars of this pom are, or will be once `jars` was called."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "ldsync" / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:16]}"


def java_version() -> int:
    """The feature version of the `java` on the path; 0 when there is none that runs."""
    java = shutil.which("java")
    if java is None:
        return 0
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    # "17.0.15", and "1.8.0" before the scheme changed.
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    return int(found.group(1)) if found else 0


def missing_tools() -> list[str]:
    """What must be installed before the broker suite can run, in words for a person; [] if nothing.

    Maven is needed only until the jars are cached.
    """
    missing = []
    if java_version() < OLDEST_JAVA:
        missing.append(f"a Java runtime, version {OLDEST_JAVA} or newer (java)")
    if not cache_directory().is_dir() and shutil.which("mvn") is None:
        missing.append("Maven (mvn)")
    return missing


def jars() -> Path:
    """The directory with the jars, fetched first if need be.

    Raises:
        RuntimeError: Maven failed; the message carries what it said.
    """
    target = cache_directory()
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():  # another process may have fetched while this one waited
            _fetch(target)
    return target


def _fetch(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}.part-") as scratch:
        complete = Path(scratch) / "libs"
        command = [
            "mvn",
            "-q",
            "-B",
            "-f",
            str(POM),
            "dependency:copy-dependencies",
            f"-DoutputDirectory={complete}",
            "-DincludeScope=runtime",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not any(complete.glob("kafka_*.jar")):
            raise RuntimeError(
                f"Maven could not fetch the jars of Apache Kafka (exit {done.returncode}):\n"
                f"{done.stdout[-4000:]}{done.stderr[-4000:]}"
            )
        complete.rename(target)
