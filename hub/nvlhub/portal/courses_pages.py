"""The pages of courses: make one, change it, give it its assessment, and have that tried."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, File, Request, Response, UploadFile
from fastapi.responses import RedirectResponse

from nvlhub.api import lang_of
from nvlhub.dates import shown
from nvlhub.errors import BadInputError, NvlhubError
from nvlhub.exchange import rubric_file
from nvlhub.flow import rubric as rubrics
from nvlhub.flow.rubric import MOST_HANDED_IN, MOST_HIDDEN, Rubric
from nvlhub.forms import AttemptView, CoursePatch, CourseView, NewCourse, ProfileView, ProjectView, Trial
from nvlhub.portal.handing_in import placed
from nvlhub.portal.paged import Paged, Short, Typed, content_of, fault_of, one_line, said_of, valid, whole
from nvlhub.registry.courses import Rights
from nvlhub.store import LEADS
from nvlhub.visitor import Visitor
from nvlhub.wire import Slug

FIELDS = (
    "slug", "project", "title", "title_zh", "summary", "repository", "commit", "opens", "profile", "keep_days", "instructors",
)  # fmt: skip
FORMS = {"course": FIELDS, "retire": (), "assessment": ("rubric", "beside"), "try": ("files",)}
"""What the page of a course has forms for, and their fields."""
RUNS = 50
"""Runs of a course on its page."""
MOST_CHOICES = 200
Files = Annotated[list[UploadFile], File(max_length=200)]


@dataclass(frozen=True, slots=True)
class _Page:
    """What a page of a course is filled with beyond the course itself."""

    error: NvlhubError | None = None
    sent: dict[str, str] | None = None
    at: str = "course"
    """The form that `error` is about."""
    tried: AttemptView | None = None


class CoursesPages(Paged):
    """Shows courses and passes on what is sent; what may be is decided by the registry."""

    # --- a new one --------------------------------------------------------------------------------------------

    def new(self, request: Request) -> Response:
        """Return the form."""
        return self._shown(request, lambda who: self._new(who, lang_of(request)))

    def _new(
        self, who: Visitor, lang: str, error: NvlhubError | None = None, sent: dict[str, str] | None = None
    ) -> Response:  # fmt: skip
        blank = dict.fromkeys(FIELDS, "") | {"keep_days": "60"}
        return self._site.page(
            "course_new.html", lang, error.status if error else 200, here="teach/new-course", who=who,
            sent=blank | (sent or {}), fault=fault_of(error, lang, FIELDS) if error else None, projects=self._led(who),
            profiles=self._profiles(who),
        )  # fmt: skip

    def add(self, request: Request, typed: Typed) -> Response:
        """Make a course."""
        who = self._own(request, typed.get("csrf", ""))
        sent = {name: typed.get(name, "") for name in FIELDS}
        try:
            made = self._registry.courses.add(who, valid(NewCourse, _meant(sent)))
        except NvlhubError as error:
            return self._new(who, lang_of(request), error, sent)
        return self._there(made.slug, "made")

    def _led(self, who: Visitor) -> list[ProjectView]:
        found, _ = self._registry.directory.projects(who, per_page=MOST_CHOICES)
        return [project for project in found if who.admin or project.role in LEADS]

    def _profiles(self, who: Visitor) -> list[ProfileView]:
        return [one for one in self._registry.profiles.profiles(who) if one.published]

    # --- one that there is ------------------------------------------------------------------------------------

    def show(self, request: Request, slug: Slug, done: str = "") -> Response:
        """Return the page of a course."""
        return self._shown(request, lambda who: self._page(request, who, slug, _Page(), done))

    def _page(self, request: Request, who: Visitor, slug: str, page: _Page, done: str = "") -> Response:
        lang, error = lang_of(request), page.error
        course, tag = self._registry.courses.course(who, slug)
        runs, total = self._registry.runs.runs(who, course=slug, per_page=RUNS)
        rubric, bad = _rubric(course)
        return self._site.page(
            "course.html", lang, error.status if error else 200, here=f"teach/courses/{slug}", who=who, course=course,
            rights=self._registry.courses.rights(who, slug), match=tag, sent=page.sent or _filled(course),
            fault=fault_of(error, lang, FORMS[page.at]) if error else None, wrong=page.at if error else "", done=said_of(done, lang),
            profiles=self._profiles(who), runs=runs, total=total, at=shown, rubric=rubric, tried=page.tried,
            rubric_fault=fault_of(bad, lang, ()).text if bad else "",
            digest=rubrics.digest(course.assessment) if course.assessment else "",
        )  # fmt: skip

    def change(self, request: Request, slug: Slug, typed: Typed) -> Response:
        """Change a course: what it is, and for those who answer for its project also who teaches it."""

        def deed(who: Visitor) -> None:
            rights: Rights = self._registry.courses.rights(who, slug)
            left_out = {"slug", "project"} | (set() if rights.leads else {"instructors"})
            values = {name: value for name, value in _meant(sent).items() if name not in left_out}
            self._registry.courses.change(who, slug, valid(CoursePatch, values), typed.get("match", ""))

        sent = {name: typed.get(name, "") for name in FIELDS}
        return self._do(request, typed.get("csrf", ""), slug, deed, "changed", _Page(sent=sent))

    def retire(self, request: Request, slug: Slug, do: Short = "", match: Short = "", csrf: Short = "") -> Response:
        """Make no more runs of a course, or have it back."""
        patch = CoursePatch(retired=do == "retire")
        return self._do(
            request, csrf, slug, lambda who: self._registry.courses.change(who, slug, patch, match),
            "retired" if patch.retired else "back", _Page(at="retire"),
        )  # fmt: skip

    # --- its assessment ---------------------------------------------------------------------------------------

    def assess(
        self, request: Request, slug: Slug, rubric: UploadFile | None = None, beside: Files = [],  # noqa: B006  # read only
        match: Short = "", csrf: Short = "",
    ) -> Response:  # fmt: skip
        """Give a course its rubric, with the hidden data and graders that it names."""

        def deed(who: Visitor) -> None:
            patch = CoursePatch(assessment=_packed(rubric, beside))
            self._registry.courses.change(who, slug, patch, match)

        return self._do(request, csrf, slug, deed, "assessed", _Page(at="assessment"))

    def unassess(self, request: Request, slug: Slug, sure: Short = "", match: Short = "", csrf: Short = "") -> Response:
        """Have nothing assessed in a course any more."""

        def deed(who: Visitor) -> None:
            if sure != "1":
                raise BadInputError("plan-unsure", field="sure")
            self._registry.courses.change(who, slug, CoursePatch(assessment={}), match)

        return self._do(request, csrf, slug, deed, "unassessed", _Page(at="assessment"))

    def try_out(
        self, request: Request, slug: Slug, files: Files = [], csrf: Short = ""  # noqa: B006  # read only
    ) -> Response:  # fmt: skip
        """Have files judged as if they were handed in, and show both logs."""
        who, lang = self._own(request, csrf), lang_of(request)
        try:
            rubric, _ = _rubric(self._registry.courses.course(who, slug)[0])
            wanted = rubric.files if rubric else []
            chosen = {placed(one.filename, wanted): one for one in files if one.filename}
            if not chosen:
                raise BadInputError("plan-file-none", field="files")
            told = {name: _base64(content_of(one, "files", MOST_HANDED_IN)) for name, one in chosen.items()}
            tried = self._registry.assessing.try_out(who, slug, _trial(told, wanted), lang)
        except NvlhubError as error:
            return self._page(request, who, slug, _Page(error, at="try"))
        return self._page(request, who, slug, _Page(tried=tried))

    # --- what they share --------------------------------------------------------------------------------------

    def _do(
        self, request: Request, csrf: str, slug: str, what: Callable[[Visitor], Any], done: str, page: _Page
    ) -> Response:
        who = self._own(request, csrf)
        try:
            what(who)
        except NvlhubError as error:
            return self._page(request, who, slug, _Page(error, page.sent, page.at))
        return self._there(slug, done)

    def _there(self, slug: str, done: str) -> Response:
        return RedirectResponse(f"{self._prefix}teach/courses/{slug}?done={done}", 303)

    def routes(self) -> APIRouter:
        """Return the routes. They come before those of runs: `new-course` is no number of a run."""
        router, course = APIRouter(include_in_schema=False), f"{self._prefix}teach/courses/{{slug}}"
        router.add_api_route(f"{self._prefix}teach/new-course", self.new, methods=["GET"])
        router.add_api_route(f"{self._prefix}teach/new-course", self.add, methods=["POST"])
        router.add_api_route(course, self.show, methods=["GET"])
        for path, deed in (
            ("", self.change), ("/retire", self.retire), ("/assessment/file", self.assess),
            ("/assessment/remove", self.unassess), ("/try", self.try_out),
        ):  # fmt: skip
            router.add_api_route(f"{course}{path}", deed, methods=["POST"])
        return router


def _meant(sent: dict[str, str]) -> dict[str, Any]:
    """Return the fields of `NewCourse` that a form means. Raises `BadInputError`."""
    told: dict[str, Any] = {name: one_line(value) for name, value in sent.items() if name != "instructors"}
    names = sent["instructors"].replace(",", "\n").splitlines()
    return told | {
        "instructors": [name.strip() for name in names if name.strip()], "commit": told["commit"].lower(),
        "keep_days": whole("keep_days", told["keep_days"]),
    }  # fmt: skip


def _filled(course: CourseView) -> dict[str, str]:
    told = {name: str(getattr(course, name)) for name in FIELDS}
    return told | {"instructors": "\n".join(course.instructors)}


def _rubric(course: CourseView) -> tuple[Rubric | None, BadInputError | None]:
    """Return the rubric of a course, or what is wrong with it; neither: nothing is assessed."""
    if not course.assessment:
        return None, None
    try:
        return rubrics.read(course.assessment), None
    except BadInputError as error:
        return None, error


def _packed(rubric: UploadFile | None, beside: list[UploadFile]) -> dict[str, Any]:
    """Return what was chosen on the form as a course keeps it. Raises `BadInputError`."""
    text = _text(content_of(rubric, "rubric", 4 * rubric_file.LONGEST), "rubric")
    chosen = {file.filename: file for file in beside if file.filename}

    def content(what: str, name: str) -> str:
        if name.rpartition("/")[2] not in chosen:
            raise BadInputError("rubric-beside", field="beside", name=name[:80], what=what)
        found = content_of(chosen[name.rpartition("/")[2]], "beside", MOST_HIDDEN)
        chosen[name.rpartition("/")[2]].file.seek(0)
        return _base64(found) if what == "hidden" else _text(found, "beside")

    return rubric_file.packed(text, content)


def _text(content: bytes, field: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInputError("plan-file-text", field=field) from None


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _trial(files: dict[str, str], wanted: list[str]) -> Trial:
    try:
        return valid(Trial, {"files": files})
    except BadInputError:
        name = next((name for name in files if name not in wanted), "files")
        raise BadInputError("attempt-unasked", field=name[:60], files=", ".join(wanted)) from None
