"""The simulator's rate windows."""

from ldsync.demo.simulator import Limits
from ldsync.demo.simulator.limits import RateWindows


def test_rate_windows_count_each_family_and_start_anew() -> None:
    """A full family refuses without counting in the others; the next window has all its room."""
    windows = RateWindows(Limits(window_seconds=10, account=3, route=2, token=None))
    first = windows.admit("patch", "t", "ip", now=101.0)
    assert first.headers == {
        "X-Ratelimit-Global-Limit": "3",
        "X-Ratelimit-Global-Remaining": "2",
        "X-Ratelimit-Reset": "110000",
        "X-Ratelimit-Route-Limit": "2",
        "X-Ratelimit-Route-Remaining": "1",
    }
    assert windows.admit("patch", "t", "ip", now=102.0).admitted
    refused = windows.admit("patch", "t", "ip", now=103.0)
    assert not refused.admitted
    assert refused.headers["X-Ratelimit-Route-Remaining"] == "0"
    assert refused.headers["X-Ratelimit-Global-Remaining"] == "1"
    assert windows.admit("get", "t", "ip", now=104.0).admitted
    assert not windows.admit("get", "t", "ip", now=109.9).admitted
    assert windows.admit("patch", "t", "ip", now=110.0).headers["X-Ratelimit-Reset"] == "120000"


def test_token_and_address_have_headers_of_their_own() -> None:
    """The token family has its own reset; the address family says `Retry-After`, only when full."""
    windows = RateWindows(Limits(account=None, route=None, token=5, address=1))
    assert windows.admit("patch", "t", "ip", now=12.0).headers == {
        "X-Ratelimit-Auth-Token-Limit": "5",
        "X-Ratelimit-Auth-Token-Remaining": "4",
        "X-Ratelimit-Auth-Token-Reset": "20000",
    }
    refused = windows.admit("patch", "t", "ip", now=12.5)
    assert not refused.admitted
    assert refused.headers["Retry-After"] == "8"
    assert windows.admit("patch", "t", "another ip", now=12.5).admitted
