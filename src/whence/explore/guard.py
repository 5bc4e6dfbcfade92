"""What the explorer refuses before any page is made: other hosts, other origins, missing tokens, large requests."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import Request

from whence.explore.request_error import RequestError
from whence.explore.upload import BYTES

#: Bytes of a request: a file and the other fields of its form.
REQUEST_BYTES = BYTES + 64 * 2**10
#: Bytes of an address.
ADDRESS_BYTES = 8192
#: Name of the cookie that holds the key where one is needed.
COOKIE = "whence-key"
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Guard:
    """The checks of a server that listens at an address."""

    host: str  # the address that it is bound to
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))  # every form has it
    key: str = field(default_factory=lambda: secrets.token_urlsafe(24))  # the URL has it, unless bound to this machine

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server, so that no key is needed."""
        return self.host == "localhost" or (_is_address(self.host) and ipaddress.ip_address(self.host).is_loopback)

    def check(self, request: Request) -> None:
        """Refuse what doesn't come from a page of this server, or without its key.

        Raises:
            RequestError: A header, the address or the size is not in order.
        """
        if request.method not in ("GET", "HEAD", "POST"):
            raise RequestError(405, "Pages are read with GET, and forms are sent with POST.")
        if len(request.url.query) > ADDRESS_BYTES or len(request.url.path) > ADDRESS_BYTES:
            raise RequestError(414, "The address is too long.")
        host = request.headers.get("host", "")
        if len(request.headers.getlist("host")) != 1 or not self._is_own(host):
            raise RequestError(421, "The Host header is not the address of this server.")
        if not self.is_local and not self.has_key(request):
            raise RequestError(403, "The key is missing; open the address that the explorer printed.")
        if request.method == "POST":
            self._check_post(request, host)

    def has_key(self, request: Request) -> bool:
        """Whether the address or the cookie has the key."""
        address, cookie = request.query_params.get("key", ""), request.cookies.get(COOKIE, "")
        return _same(address, self.key) | _same(cookie, self.key)

    def check_token(self, token: str) -> None:
        """Refuse a form that this process did not make.

        Raises:
            RequestError: The token is missing or another one.
        """
        if not _same(token, self.token):
            raise RequestError(
                403, "The form is not of this explorer, or is from before its last start; load the page again."
            )

    def _check_post(self, request: Request, host: str) -> None:
        if (
            request.headers.get("origin", "").rpartition("://")[2] != host
            or len(request.headers.getlist("origin")) != 1
        ):
            raise RequestError(403, "The form was not sent by a page of this server.")
        length = request.headers.get("content-length", "")
        if not length.isascii() or not length.isdecimal():
            raise RequestError(411, "The request does not say how long it is.")
        if len(length) > 12 or int(length) > REQUEST_BYTES:
            raise RequestError(413, f"The request is larger than {REQUEST_BYTES // 2**20} MB.")

    def _is_own(self, host: str) -> bool:
        """Whether a Host header names this server; names that others choose would let their pages read it."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if host != host.strip() or not name or any(mark in host for mark in "/@?#\\"):
            return False
        if self.is_local:
            return name in ("localhost", "127.0.0.1", "::1", self.host)
        return name in (self.host, "localhost", socket.gethostname().lower()) or _is_address(name)


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode(), b.encode())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
