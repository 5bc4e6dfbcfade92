"""Every request passes the guard, and every answer gets the headers that bind a browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whence.explore.guard import COOKIE, HEADERS, Guard
from whence.explore.request_error import RequestError


@dataclass(frozen=True)
class GuardMiddleware:
    """An application behind a guard."""

    app: ASGIApp
    guard: Guard
    error: Callable[[int, str], Response]  # makes the page of an error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request = Request(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((name.lower().encode(), value.encode()) for name, value in HEADERS.items()),
                ]
            await send(message)

        try:
            self.guard.check(request)
        except RequestError as refusal:
            return await self.error(refusal.status, refusal.sentence)(scope, receive, send_with_headers)
        app = self._remember_key(request) if "key" in request.query_params else self.app
        return await app(scope, receive, send_with_headers)

    def _remember_key(self, request: Request) -> ASGIApp:
        """Move the key from the address to a cookie, so that it is in no link that somebody copies."""
        answer = RedirectResponse(str(request.url.remove_query_params("key").replace(scheme="", netloc="")) or "/", 303)
        if not self.guard.is_local:
            answer.set_cookie(COOKIE, self.guard.key, httponly=True, samesite="strict")
        return answer
