"""Which proxy to take to LaunchDarkly: the configured one, else that of the environment.

The variables are those that curl and others know: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
`NO_PROXY`, in capitals or not; the small ones win.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

from ldsync.config.sources import environment

if TYPE_CHECKING:
    from ldsync.config.sections import LaunchDarklySettings

_SUFFIX = "_proxy"
_SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, or none.

    Attributes:
        address: `http://host:port`, possibly with a user name and a password; empty for none.
        origin: The setting or variable that names it; empty if nothing does.
        usable: Whether ldsync can use it; if not, `address` is empty.
    """

    address: str = field(default="", repr=False)
    origin: str = ""
    usable: bool = True

    @property
    def place(self) -> str:
        """Host and port, for the log."""
        return urlsplit(self.address).netloc.rpartition("@")[2]


def proxy_for(settings: "LaunchDarklySettings", environ: Mapping[str, str] | None = None) -> Proxy:
    """The proxy for requests to `launchdarkly.base_url`.

    Args:
        settings: The section `[launchdarkly]`.
        environ: The environment, if not that of the process.
    """
    configured = settings.proxy.get_secret_value()
    if configured:
        return Proxy("" if configured == "none" else configured, "launchdarkly.proxy")
    environ = environment() if environ is None else environ
    target = urlsplit(settings.base_url)
    named: dict[str, tuple[str, str]] = {}
    for name in sorted(environ):  # capitals come first, so that the small ones win
        if name.lower().endswith(_SUFFIX) and environ[name]:
            named[name.lower().removesuffix(_SUFFIX)] = (environ[name], name)
    bypassed = {scheme: value for scheme, (value, _) in named.items()}
    if proxy_bypass_environment(target.netloc, bypassed):
        return Proxy()
    address, origin = named.get(target.scheme) or named.get("all") or ("", "")
    if address and "://" not in address:
        address = f"http://{address}"
    if address and urlsplit(address).scheme not in _SCHEMES:
        return Proxy("", origin, usable=False)
    return Proxy(address, origin)
