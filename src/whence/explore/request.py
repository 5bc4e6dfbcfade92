"""The parts of a request: names, numbers and forms, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from whence.explore.guard import REQUEST_BYTES
from whence.explore.request_error import RequestError

#: Characters of a search, and fields of a form.
SEARCH, FIELDS = 200, 24


def text_of(request: Request, name: str, default: str | None = None) -> str:
    """Return a parameter of the address.

    Raises:
        RequestError: It is missing, and there is no default, or it is given more than once.
    """
    values = request.query_params.getlist(name)
    if len(values) > 1 or (not values and default is None):
        raise RequestError(400, f"The address needs one {name}.")
    return values[0] if values else default or ""


def number_of(request: Request, name: str, default: int) -> int:
    """Return a whole number from 1 on in the address.

    Raises:
        RequestError: It is none.
    """
    text = text_of(request, name, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise RequestError(400, f"The {name} in the address is no whole number from 1 on.")
    return int(text)


def search_of(request: Request) -> str:
    """Return the text that is looked for; empty where none is given.

    Raises:
        RequestError: It is too long.
    """
    text = text_of(request, "q", "").strip()
    if len(text) > SEARCH:
        raise RequestError(400, f"A search is at most {SEARCH} characters.")
    return text


@dataclass(frozen=True)
class Form:
    """The fields of a form."""

    texts: Mapping[str, list[str]]
    file: bytes

    def text(self, name: str) -> str:
        """The value of a field; empty where there is none."""
        return next(iter(self.texts.get(name, ())), "")


async def read_form(request: Request) -> Form:
    """Return the form of a request, which never takes more memory than the largest request.

    Raises:
        RequestError: It is too large or no form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        raise RequestError(415, "A form is expected.")
    body, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > REQUEST_BYTES:
            raise RequestError(413, f"The request is larger than {REQUEST_BYTES // 2**20} MB.")
        body.append(chunk)
    sent = iter([{"type": "http.request", "body": b"".join(body), "more_body": False}])

    async def receive() -> dict[str, object]:
        return next(sent)

    try:
        async with Request(request.scope, receive).form(max_files=1, max_fields=FIELDS) as form:
            texts: dict[str, list[str]] = {}
            for name, value in form.multi_items():
                if isinstance(value, str):
                    texts.setdefault(name, []).append(value)
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            return Form(texts, await files[0].read() if files else b"")
    except (HTTPException, MultiPartException, ValueError, KeyError, StopIteration, RuntimeError):
        raise RequestError(400, "The form can't be read.") from None
