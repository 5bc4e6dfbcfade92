"""The addresses of the explorer, and what each of them answers."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from whence.errors import WhenceError
from whence.explore.collection import Collection
from whence.explore.guard import Guard
from whence.explore.job import Job, Jobs
from whence.explore.middleware import GuardMiddleware
from whence.explore.page import address, start_page
from whence.explore.picture_page import picture_page, without_page
from whence.explore.request import Form, number_of, read_form, search_of, text_of
from whence.explore.request_error import RequestError, UnknownNameError
from whence.explore.search_page import image_page, search_page, unit_page
from whence.explore.site import Site, json_response, static_file
from whence.explore.work import removal, start_drawing, start_losses, start_removal
from whence.report.picture import LARGE, SMALL, shrunk_png


@dataclass(frozen=True)
class Explorer:
    """A collection, its pages, and the work that visitors asked for."""

    collection: Collection
    guard: Guard
    jobs: Jobs = field(default_factory=Jobs)

    @cached_property
    def site(self) -> Site:
        """The look of the pages."""
        return Site(self.collection, self.guard)

    def start(self, request: Request) -> Response:
        """Return the first page."""
        return self.site.show(request, start_page(self.collection, search_of(request), number_of(request, "page", 1)))

    def picture(self, request: Request) -> Response:
        """Return the page of a picture."""
        page = picture_page(self.collection, text_of(request, "name"), text_of(request, "by", ""))
        return self.site.show(request, page)

    def without(self, request: Request) -> Response:
        """Return the page of a picture without units."""
        units = request.query_params.getlist("unit")
        wanted = removal(self.collection, text_of(request, "picture"), units)
        return self.site.show(request, without_page(self.collection, wanted))

    def image(self, request: Request) -> Response:
        """Return the page of a training image."""
        page = image_page(self.collection, text_of(request, "id"), text_of(request, "picture", ""))
        return self.site.show(request, page)

    def unit(self, request: Request) -> Response:
        """Return the page of a contributor."""
        page = unit_page(self.collection, text_of(request, "name"), text_of(request, "picture", ""))
        return self.site.show(request, page)

    def where(self, request: Request) -> Response:
        """Return the page of a search."""
        page = search_page(self.collection, search_of(request), text_of(request, "like", ""))
        return self.site.show(request, page)

    def png(self, request: Request) -> Response:
        """Return a picture or training image as PNG."""
        longest = LARGE if text_of(request, "size", "small") == "large" else SMALL
        pixels = self._pixels(text_of(request, "picture", ""), text_of(request, "image", ""))
        if pixels is None:
            raise UnknownNameError("picture")
        return Response(shrunk_png(pixels, longest), media_type="image/png", headers={"Cache-Control": "max-age=300"})

    def _pixels(self, picture: str, image: str) -> np.ndarray | None:
        upload = self.collection.uploads.by_name.get(picture)
        if image:
            return self.collection.training.pixels(image)
        if upload is not None:
            return upload.pixels
        return self.collection.pixels(picture) if picture in self.collection.entries() else None

    def job(self, request: Request) -> Response:
        """Return how far a job is; a page leads to the result when it is done."""
        job, kind = self.jobs.by_id.get(text_of(request, "id")), text_of(request, "format", "html")
        if job is None:
            raise UnknownNameError("drawing")
        words = self._words(job)
        if kind == "json":
            names = ("state", "done", "total", "title", "result", "error")
            return json_response({"words": words} | {name: getattr(job, name) for name in names})
        if job.state == "done":
            return RedirectResponse(job.result, 303)
        return self.site.html("job.html.j2", title=job.title, job=job, state=words)

    def _words(self, job: Job) -> str:
        ahead = self.jobs.ahead_of(job)
        if job.state == "waiting" and ahead:
            return f"Waits for {ahead} other drawing{'s' if ahead > 1 else ''}."
        return f"{job.done / job.total:.0%} done." if job.total else "Begins."

    def post_without(self, form: Form) -> Response:
        """Draw a picture again without units, unless that was done."""
        ensemble = self.collection.ensemble
        wanted = removal(self.collection, form.text("picture"), form.texts.get("unit", []))
        if ensemble is None or wanted.plan is None:
            raise RequestError(409, wanted.problem)
        if wanted.plan.is_drawn():
            return RedirectResponse(wanted.address, 303)
        return _follow(start_removal(self.jobs, ensemble, wanted))

    def post_losses(self, form: Form) -> Response:
        """Measure the exact losses of a picture."""
        return _follow(start_losses(self.jobs, self.collection, form.text("name")))

    def post_draw(self, form: Form) -> Response:
        """Draw a picture."""
        if self.collection.ensemble is None:
            raise RequestError(409, "Only an ensemble draws pictures here, and this folder is none.")
        fields = [form.text(name).strip() for name in ("seed", "prompt", "guidance")]
        return _follow(start_drawing(self.jobs, self.collection.ensemble, *fields))

    def post_upload(self, form: Form) -> Response:
        """Keep a visitor's picture in memory and show its page."""
        upload = self.collection.uploads.add(form.file, form.text("caption").strip())
        return RedirectResponse(address("/picture", name=upload.name), 303)

    def post_where(self, form: Form) -> Response:
        """Keep a visitor's picture in memory and show the training images nearest to it."""
        return RedirectResponse(address("/where", like=self.collection.uploads.add(form.file, "").name), 303)

    def app(self) -> GuardMiddleware:
        """The application, as servers run it."""
        pages = {
            "/": self.start,
            "/picture": self.picture,
            "/without": self.without,
            "/image": self.image,
            "/unit": self.unit,
            "/where": self.where,
            "/png": self.png,
            "/job": self.job,
            "/static/{name}": lambda request: static_file(request.path_params["name"]),
        }
        forms = {
            "/without": self.post_without,
            "/losses": self.post_losses,
            "/draw": self.post_draw,
            "/upload": self.post_upload,
            "/where": self.post_where,
        }
        routes = [
            Route(path, self._endpoint(pages.get(path), forms.get(path)), methods=["GET", "POST"])
            for path in dict.fromkeys([*pages, *forms])
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: self._refuse_route})
        return GuardMiddleware(app, self.guard, self.site.error)

    def _endpoint(
        self, show: Callable[[Request], Response] | None, act: Callable[[Form], Response] | None
    ) -> Callable[[Request], Awaitable[Response]]:
        """What answers at an address: `show` to those who read it, `act` to forms of this explorer."""

        async def answer(request: Request) -> Response:
            try:
                if request.method != "POST" and show is not None:
                    return await run_in_threadpool(show, request)
                if request.method == "POST" and act is not None:
                    form = await read_form(request)
                    self.guard.check_token(form.text("token"))
                    return await run_in_threadpool(act, form)
                raise RequestError(405, "This address takes no such request.")
            except RequestError as refusal:
                return self.site.error(refusal.status, refusal.sentence)
            except WhenceError as error:
                return self.site.error(409, str(error))
            except Exception:
                traceback.print_exc()
                return self.site.error(500, "Something went wrong; the terminal of the explorer shows what.")

        return answer

    async def _refuse_route(self, _request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        return self.site.error(status, "There is no such page.")


def _follow(job: Job) -> Response:
    """Lead to the page of a job."""
    return RedirectResponse(address("/job", id=job.id), 303)
