"""Which proxy is taken: the setting, else the variables that curl knows."""

from collections.abc import Mapping

import pytest
from pydantic import SecretStr

from ldsync.config import LaunchDarklySettings
from ldsync.config.proxies import Proxy, proxy_for

URL = "http://proxy.example:3128"


def chosen(
    environ: Mapping[str, str], proxy: str = "", url: str = "https://app.launchdarkly.com"
) -> Proxy:
    """The proxy to that address."""
    settings = LaunchDarklySettings(base_url=url, proxy=SecretStr(proxy))
    return proxy_for(settings, environ)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, ("", ""), id="nothing"),
        pytest.param({"HTTPS_PROXY": URL}, (URL, "HTTPS_PROXY"), id="capitals"),
        pytest.param({"https_proxy": URL}, (URL, "https_proxy"), id="small"),
        pytest.param(
            {"HTTPS_PROXY": "http://x:1", "https_proxy": URL},
            (URL, "https_proxy"),
            id="the small one wins",
        ),
        pytest.param({"ALL_PROXY": URL}, (URL, "ALL_PROXY"), id="for everything"),
        pytest.param({"HTTPS_PROXY": "proxy.example:3128"}, (URL, "HTTPS_PROXY"), id="no scheme"),
        pytest.param({"HTTPS_PROXY": ""}, ("", ""), id="empty"),
        pytest.param({"HTTP_PROXY": URL}, ("", ""), id="of another scheme"),
        pytest.param(
            {"HTTPS_PROXY": URL, "NO_PROXY": "localhost,.launchdarkly.com"},
            ("", ""),
            id="excepted by domain",
        ),
        pytest.param({"HTTPS_PROXY": URL, "no_proxy": "*"}, ("", ""), id="all excepted"),
        pytest.param(
            {"HTTPS_PROXY": URL, "NO_PROXY": "example.com"},
            (URL, "HTTPS_PROXY"),
            id="others excepted",
        ),
    ],
)
def test_variables_name_a_proxy(environ: Mapping[str, str], expected: tuple[str, str]) -> None:
    """HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY."""
    proxy = chosen(environ)
    assert (proxy.address, proxy.origin) == expected
    assert proxy.usable


def test_plain_http_has_a_variable_of_its_own() -> None:
    """For the simulator, say."""
    environ = {"HTTP_PROXY": URL, "HTTPS_PROXY": "http://other:1"}
    assert chosen(environ, url="http://sim.example:8080").address == URL


def test_the_setting_wins_over_the_variables_and_their_exceptions() -> None:
    """And `none` means none."""
    environ = {"HTTPS_PROXY": "http://other:1", "NO_PROXY": "*"}
    assert chosen(environ, URL) == Proxy(URL, "launchdarkly.proxy")
    assert chosen({"HTTPS_PROXY": URL}, "none").address == ""


def test_a_proxy_of_another_kind_is_not_used() -> None:
    """It is meant for other programs; whoever wants it for this one is told."""
    proxy = chosen({"ALL_PROXY": "socks5://user:secret@proxy:1080"})
    assert (proxy.address, proxy.origin, proxy.usable) == ("", "ALL_PROXY", False)


def test_a_password_is_neither_in_the_repr_nor_in_the_place() -> None:
    """P8: the place is what the log says."""
    proxy = chosen({}, "http://user:secret@proxy.example:3128")
    assert proxy.place == "proxy.example:3128"
    assert "secret" not in repr(proxy)
