"""Use cases of assessment: handing in, judging, reading what came of it. Who may is checked here."""

from __future__ import annotations

import base64
import binascii
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nvlhub.arena import Arena, ArenaError, Judgement, NotHeldError, Payer
from nvlhub.desk import Desk
from nvlhub.errors import BadInputError, ConflictError, FailedError, NotAllowedError, NotFoundError, NvlhubError
from nvlhub.explain import sentence
from nvlhub.flow import rubric as rubrics
from nvlhub.flow.course import Phase, RunState, phase
from nvlhub.flow.rubric import MOST_HANDED_IN, Rubric
from nvlhub.forms import AskedItem, AssessmentView, AttemptView, MarkView, NewAttempt, Trial
from nvlhub.registry.certificates import Certificates
from nvlhub.registry.teaching import Teaching, times_of
from nvlhub.snapshots import Snapshots, name_of, pack
from nvlhub.store import Unit
from nvlhub.text import say
from nvlhub.visitor import Visitor

BROKEN_ALLOWED = 3
"""Attempts that our side could not judge and that do not count; more of them do, lest somebody breaks them on purpose."""
LOG_TOLD = 20_000
"""Characters of a log that are kept."""


@dataclass(frozen=True, slots=True)
class Job:
    """An attempt that is to be judged."""

    number: int
    files: Mapping[str, bytes]
    rubric: Rubric
    digest: str
    payer: Payer


class Assessing(Teaching):
    """What learners hand in, and what it is worth."""

    def __init__(self, desk: Desk, certificates: Certificates, arena: Arena | None, snapshots: Snapshots) -> None:
        """`arena` None: nothing is judged here."""
        super().__init__(desk)
        self._certificates = certificates
        self.arena = arena
        self._snapshots = snapshots
        self._trying = threading.Lock()
        self.waiting = threading.Event()
        """Set when something was handed in."""

    # --- for learners -----------------------------------------------------------------------------------------

    def asked(self, visitor: Visitor, run: int) -> AssessmentView:
        """Tell what is to be handed in, to who has a seat in a run or teaches it. Raises `NotFoundError`."""
        with self._store.reading() as unit:
            row, seat = self._seen(unit, visitor, run)
            rubric, _ = self._rubric(unit, row["course"])
            left = _left(rubric, unit.attempts_of(run, visitor.name)) if seat else 0
        return AssessmentView(
            run=str(run), files=rubric.files, largest=rubric.largest, most=MOST_HANDED_IN, pass_milli=rubric.pass_milli,
            items=[AskedItem(name=one.name, title=one.title, title_zh=one.title_zh, weight=one.weight) for one in rubric.items],
            attempts=rubric.attempts, gpus=row["gpus"] if rubric.gpu else 0, left=left, open=seat is not None and left > 0 and not self._shut(row, seat),
        )  # fmt: skip

    def hand_in(self, visitor: Visitor, body: NewAttempt, lang: str) -> tuple[AttemptView, bool]:
        """Take what is handed in on the visitor's own seat; return it, and whether it is new.

        The same files once more are the same attempt. Raises `NotFoundError`, `BadInputError`, `ConflictError`.
        """
        self._need_arena()
        with self._store.reading() as unit:
            row, seat = self._seen(unit, visitor, body.run)
            if seat is None:
                raise NotAllowedError("attempt-no-seat")
            rubric, _ = self._rubric(unit, row["course"])
        packed = pack(_decoded(body.files, rubric))
        snapshot = name_of(packed)
        with self._store.writing() as unit:
            row = unit.run(body.run, lock=True)
            seat = unit.seat_of(body.run, visitor.name)
            if seat is None:
                raise NotAllowedError("attempt-no-seat")
            rubric, digest = self._rubric(unit, row["course"])
            known = unit.attempts_of(body.run, visitor.name)
            for one in known:
                if (one["snapshot"], one["grader"]) == (snapshot, digest) and one["state"] != "broken":
                    return self._view(unit, one, lang), False
            if shut := self._shut(row, seat):
                raise ConflictError(shut, run=row["name"])
            if any(one["state"] in {"queued", "running"} for one in known):
                raise ConflictError("attempt-waits")
            if _left(rubric, known) <= 0:
                raise ConflictError("attempts-used", count=str(rubric.attempts))
            number = unit.add_attempt(
                run=body.run, seat=seat["number"], number=1 + max((one["number"] for one in known), default=0),
                user=visitor.name, at=self._clock.now(), state="queued", snapshot=snapshot, grader=digest,
            )  # fmt: skip
            self._snapshots.keep(packed)
            view = self._view(unit, unit.attempt(number), lang)
        self.waiting.set()
        return view, True

    def mine(self, visitor: Visitor, lang: str, page: int, per_page: int) -> tuple[list[AttemptView], int]:
        """Return a page of what the visitor handed in, the newest first."""
        with self._store.reading() as unit:
            rows, total = unit.attempts(None, visitor.name, page, per_page)
            return [self._view(unit, row, lang) for row in rows], total

    def attempt(self, visitor: Visitor, number: int, lang: str) -> AttemptView:
        """Return an attempt to its learner, and to those who teach the run. Raises `NotFoundError`."""
        with self._store.reading() as unit:
            row = unit.attempt(number)
            teaches = self._teacher(unit, visitor).teaches(unit.run(row["run"]))
            if not (teaches or row["user"] == visitor.name):
                raise NotFoundError("attempt-unknown", attempt=str(number))
            return self._view(unit, row, lang, inside=teaches)

    # --- for those who teach ----------------------------------------------------------------------------------

    def of_run(
        self, visitor: Visitor, run: int, lang: str, page: int, per_page: int
    ) -> tuple[list[AttemptView], int]:  # fmt: skip
        """Return a page of what was handed in in a run, with all logs."""
        with self._store.reading() as unit:
            self._run(unit, visitor, run)
            rows, total = unit.attempts(run, None, page, per_page)
            return [self._view(unit, row, lang, inside=True) for row in rows], total

    def try_out(self, visitor: Visitor, slug: str, body: Trial, lang: str) -> AttemptView:
        """Judge files as if they were handed in, without a seat and without a trace; one at a time.

        Raises `NotFoundError`, `BadInputError`, `ConflictError`, `FailedError`.
        """
        with self._store.reading() as unit:
            course = self._course(unit, visitor, slug)
            if not self._teacher(unit, visitor).teaches(course):
                raise NotAllowedError("not-allowed")
            rubric, digest = self._rubric(unit, slug)
            payer = _payer(unit.course(slug), visitor.name, None, f"trial-{uuid.uuid4()}")
        arena = self._need_arena()
        files = _decoded(body.files, rubric)
        if not self._trying.acquire(blocking=False):
            raise ConflictError("trial-busy")
        now = self._clock.now()
        row: dict[str, Any] = {
            "number": 0, "seat": 0, "user": visitor.name, "at": now, "snapshot": "", "grader": digest, "why": {},
        }  # fmt: skip
        try:
            row |= _outcome(rubric, arena.judge(files, rubric, payer))
        except NotHeldError as error:
            raise error.why from None
        except ArenaError as error:
            row |= _broken(str(error))
        finally:
            self._trying.release()
        return _told(row, lang, course=slug, inside=True, ended_at=self._clock.now())

    # --- for the worker ---------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Take up what the portal before this one left half done."""
        with self._store.reading() as unit:
            begun = unit.running_attempts()
        for row in begun:
            if self.arena is not None:
                self.arena.clear(row["user"], _key(row))
        with self._store.writing() as unit:
            unit.resume_attempts(self._clock.now())
        self.waiting.set()

    def next(self) -> Job | None:
        """Take the attempt that waits longest; None: none waits. One that cannot be judged ends here."""
        while True:
            with self._store.writing() as unit:
                row = unit.take_attempt()
                if row is None:
                    return None
                try:
                    run = unit.run(row["run"])
                    rubric, digest = self._rubric(unit, run["course"])
                    payer = _payer(unit.course(run["course"]), row["user"], run["gpus"], _key(row))
                    return Job(row["id"], self._snapshots.files(row["snapshot"]), rubric, digest, payer)
                except (OSError, BadInputError, ConflictError) as error:
                    unit.end_attempt(row["id"], **_broken(str(error)), ended_at=self._clock.now())

    def judged(self, job: Job, judgement: Judgement) -> None:
        """Write down what came of an attempt; who passed has a certificate in the same transaction."""
        outcome = _outcome(job.rubric, judgement)
        with self._store.writing() as unit:
            ended = unit.end_attempt(job.number, **outcome, grader=job.digest, ended_at=self._clock.now())
            if ended and outcome["state"] == "passed":
                self._certificates.issue(unit, job.number)

    def not_held(self, job: Job, why: NvlhubError) -> None:
        """Write down that no lease was to be had for an attempt: it ran nowhere, and does not count."""
        told = {"slug": why.slug, "members": {**why.members, "more": self._desk.more_url}}
        with self._store.writing() as unit:
            unit.end_attempt(job.number, **_broken(f"No lease: {why}"), why=told, ended_at=self._clock.now())

    def broke(self, job: Job, why: str) -> None:
        """Write down that our side could not judge an attempt."""
        with self._store.writing() as unit:
            unit.end_attempt(job.number, **_broken(why), ended_at=self._clock.now())

    # --- what they share --------------------------------------------------------------------------------------

    def _need_arena(self) -> Arena:
        if self.arena is None:
            raise FailedError("assessment-off", why="")
        if why := self.arena.lacks():
            raise FailedError("assessment-off", why=why)
        return self.arena

    def _seen(self, unit: Unit, visitor: Visitor, run: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Return a run and the visitor's seat in it. Raises `NotFoundError` for who neither sits in it nor teaches it."""
        row, seat = unit.run(run), unit.seat_of(run, visitor.name)
        if seat is None:
            self._need_sight(self._teacher(unit, visitor), row, "run-unknown", run=str(run))
        return row, seat

    def _rubric(self, unit: Unit, course: str) -> tuple[Rubric, str]:
        told = unit.course(course)["assessment"]
        if not told:
            raise NotFoundError("assessment-none", course=course)
        return rubrics.read(told), rubrics.digest(told)

    def _shut(self, run: dict[str, Any], seat: dict[str, Any]) -> str:
        """Return why nothing can be handed in on a seat now; empty: it can."""
        if run["state"] != RunState.APPROVED:
            return "attempt-shut"
        times = times_of(run)
        match phase(replace(times, ends=times.ends + seat["extra"]), self._clock.now()):
            case Phase.LIVE | Phase.GRACE:
                return ""
            case Phase.OVER:
                return "attempt-late"
            case _:
                return "attempt-early"

    def _view(self, unit: Unit, row: dict[str, Any], lang: str, *, inside: bool = False) -> AttemptView:
        certificate = unit.certificate_of(row["run"], row["user"]) if row["state"] == "passed" else None
        return _told(
            row, lang, inside=inside, id=str(row["id"]), run=str(row["run"]), course=unit.run(row["run"])["course"],
            certificate=certificate["id"] if certificate else "", ended_at=row["ended_at"],
        )  # fmt: skip


def _left(rubric: Rubric, known: list[dict[str, Any]]) -> int:
    begun = [one for one in known if not one["why"]]
    broken = len([one for one in begun if one["state"] == "broken"])
    return max(0, rubric.attempts - len(begun) + min(broken, BROKEN_ALLOWED))


def _key(row: Mapping[str, Any]) -> str:
    """Return what the lease of an attempt is asked for with; each time that it is begun it is another."""
    return f"attempt-{row['id']}-{row['starts']}"


def _payer(course: Mapping[str, Any], user: str, gpus: int | None, key: str) -> Payer:
    return Payer(user, course["project"], course["profile"], gpus, key)


def _decoded(told: Mapping[str, str], rubric: Rubric) -> dict[str, bytes]:
    """Return the files of an attempt. Raises `BadInputError` for what is not asked for, too large, or not there."""
    files = {}
    for name, content in told.items():
        if not rubric.wants(name):
            raise BadInputError("attempt-unasked", field=f"files.{name}", files=", ".join(rubric.files))
        try:
            files[name] = base64.b64decode(content, validate=True)
        except binascii.Error:
            raise BadInputError("attempt-unreadable", field=f"files.{name}") from None
        if len(files[name]) > rubric.largest:
            raise BadInputError("attempt-large", field=f"files.{name}", most=str(rubric.largest))
    if sum(map(len, files.values())) > MOST_HANDED_IN:
        raise BadInputError("attempt-large", field="files", most=str(MOST_HANDED_IN))
    folders = {name.rsplit("/", depth)[0] for name in files for depth in range(1, name.count("/") + 1)}
    for name in sorted(folders & files.keys()):
        raise BadInputError("attempt-folder", field=f"files.{name}")
    for name in rubric.files:
        if "*" not in name and name not in files:
            raise BadInputError("attempt-lacks", field=f"files.{name}")
    return files


def _outcome(rubric: Rubric, judgement: Judgement) -> dict[str, Any]:
    """Return what is written down of a judgement. What did not end well is worth nothing, and says why at each item."""
    ran = judgement.ran
    if judgement.marks:
        marks = [(mark.share_milli, mark.slug, dict(mark.members), mark.text) for mark in judgement.marks]
    else:
        members = {
            "code": {"code": str(ran.code)}, "time": {"seconds": str(rubric.limits.seconds)},
            "memory": {"most": str(rubric.limits.memory_mib)},
        }.get(ran.ended, {})  # fmt: skip
        marks = [(0, f"ran-{ran.ended}", members, "")] * len(rubric.items)
    score = rubric.score([mark[0] for mark in marks])
    return {
        "state": "passed" if score >= rubric.pass_milli else "failed", "score_milli": score, "log": _plain(ran.log),
        "grader_log": _plain(judgement.grader_log), "lease": judgement.lease,
        "feedback": [
            {
                "name": item.name, "title": item.title, "title_zh": item.title_zh, "weight": item.weight,
                "share_milli": share, "slug": slug, "members": members, "text": text,
            }
            for item, (share, slug, members, text) in zip(rubric.items, marks, strict=True)
        ],
    }  # fmt: skip


def _broken(why: str) -> dict[str, Any]:
    return {"state": "broken", "score_milli": None, "feedback": [], "log": "", "grader_log": _plain(why)}


def _plain(log: str) -> str:
    """Return what was printed without what steers a terminal or what a database cannot keep."""
    kept = (letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in log)
    return "".join(kept)[:LOG_TOLD]


def _said(row: Mapping[str, Any], lang: str) -> str:
    """Return where an attempt stands, in words; of one that had no lease, why."""
    if why := row["why"]:
        return say("attempt-not-held", lang, why=sentence(why["slug"], lang, **why["members"]))
    return say(f"attempt-is-{row['state']}", lang)


def _told(row: dict[str, Any], lang: str, *, inside: bool, **more: Any) -> AttemptView:
    items = [
        MarkView(
            **{name: one[name] for name in ("name", "title", "title_zh", "weight", "share_milli", "text")},
            said=say(one["slug"], lang, **one["members"]),
        )
        for one in row["feedback"]
    ]  # fmt: skip
    facts = {
        name: row[name]
        for name in ("seat", "number", "user", "at", "state", "score_milli", "snapshot", "grader", "log")
    }
    return AttemptView(
        **{"id": "", "run": "", **facts, **more}, said=_said(row, lang), items=items,
        grader_log=row["grader_log"] if inside else "",
    )  # fmt: skip
