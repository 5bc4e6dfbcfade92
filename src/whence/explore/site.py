"""The look of the explorer: pages as HTML, CSV and JSON, errors, and the files that pages load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import Response

from whence import artefacts
from whence.explore.collection import Collection
from whence.explore.guard import Guard
from whence.explore.page import Page
from whence.explore.request import text_of
from whence.explore.request_error import RequestError, UnknownNameError
from whence.report.picture import CRISP
from whence.report.template import environment, read_resource

PACKAGE = "whence.explore"
#: The files that pages load, with their types.
FILES = {
    "report.css": "text/css",
    "scores.css": "text/css",
    "explore.css": "text/css",
    "explore.js": "text/javascript",
}


@dataclass(frozen=True)
class Site:
    """The pages of a collection."""

    collection: Collection
    guard: Guard

    @cached_property
    def _templates(self) -> Environment:
        return environment(PACKAGE)

    @cached_property
    def _values(self) -> dict[str, Any]:
        """What every page has."""
        entries, path = self.collection.entries(), self.collection.path.resolve()
        first = next((name for name, entry in entries.items() if entry.shown), None)
        pixels = None if first is None else self.collection.pixels(first)
        site = {
            "name": path.name,
            "path": str(path) if self.guard.is_local else path.name,
            "local": self.guard.is_local,
            "crisp": pixels is not None and max(pixels.shape[1:]) <= CRISP,
            "version": artefacts.environment()["whence"],
        }
        return {"site": site, "token": self.guard.token}

    def html(self, template: str, status: int = 200, **values: Any) -> Response:
        """Return a page from a template."""
        text = self._templates.get_template(template).render(**({"tables": None} | self._values | values))
        return Response(text, status, media_type="text/html")

    def show(self, request: Request, page: Page) -> Response:
        """Return a page, or its table as CSV or JSON where the address asks for one of them.

        Raises:
            RequestError: The address asks for something else.
        """
        kind = text_of(request, "format", "html")
        if kind == "csv":
            return Response(artefacts.to_csv(page.table), media_type="text/csv")
        if kind == "json":
            rows = [dict(zip(page.table, row, strict=True)) for row in zip(*page.table.values(), strict=True)]
            return json_response({"title": page.title, **page.facts, "rows": rows})
        if kind != "html":
            raise RequestError(400, "The format is html, csv or json.")
        own = [pair for pair in request.query_params.multi_items() if pair[0] != "format"]
        tables = {k: f"{request.url.path}?{urlencode([*own, ('format', k)])}" for k in ("csv", "json")}
        return self.html(page.template, title=page.title, tables=tables, **page.values)

    def error(self, status: int, sentence: str) -> Response:
        """Return the page of an error."""
        return self.html("error.html.j2", status, title="Error", sentence=sentence)


def json_response(values: Mapping[str, Any]) -> Response:
    """Return values as JSON."""
    return Response(json.dumps(values, ensure_ascii=False, allow_nan=False), media_type="application/json")


def static_file(name: str) -> Response:
    """Return a file that pages load.

    Raises:
        UnknownNameError: There is no such file.
    """
    if name not in FILES:
        raise UnknownNameError("file")
    return Response(read_resource(name, PACKAGE), media_type=FILES[name], headers={"Cache-Control": "no-cache"})
