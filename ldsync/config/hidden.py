"""What must be hidden wherever it appears: the secrets of a configuration as plain texts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ldsync.config.proxies import proxy_for
from ldsync.config.schema import all_keys

if TYPE_CHECKING:
    from ldsync.config.settings import Settings


def secrets_of(settings: "Settings") -> Iterator[str]:
    """Every text that must not be seen: all secret keys, and the passwords in addresses."""
    for key in all_keys(type(settings)):
        if key.secret:
            yield getattr(getattr(settings, key.section), key.name).get_secret_value()
    proxy = proxy_for(settings.launchdarkly)
    # Not only with the address around it: libraries take it apart.
    password = urlsplit(proxy.address).password or ""
    yield from settings.ordering.redis_secrets()
    yield from (proxy.address if password else "", password, unquote(password))
