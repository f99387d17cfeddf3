"""Use cases of leases: offer, ask, look, beat, extend, end. Rules about who may are checked here."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace

from nvlhub.clock import SteadyClock
from nvlhub.engines.base import Engine
from nvlhub.errors import BadInputError, ConflictError, FailedError, NotAllowedError, NotFoundError, NvlhubError
from nvlhub.explain import problem, sentence
from nvlhub.flow.lease import Approved, End, Extended, Lease, advance
from nvlhub.flow.metering import warning
from nvlhub.flow.placement import count_free, fits_ever
from nvlhub.flow.queue import Waiting, expected_start
from nvlhub.flow.quota import Award, Hold, InUse, admit
from nvlhub.flow.request import Pool, Profile, Project, Request, make_request
from nvlhub.run import Board, Runner
from nvlhub.store import Store, Unit
from nvlhub.visitor import Visitor
from nvlhub.wire import (
    Beat,
    BeatAnswer,
    EndReason,
    Extend,
    LeaseAsk,
    LeaseView,
    Offer,
    Problem,
    State,
)

PATIENCE = 10.0
"""Seconds to wait for the run loop's answer."""


class Desk:
    """What visitors can do with leases."""

    def __init__(
        self, store: Store, runner: Runner, engine: Engine, clock: SteadyClock, *, pool: str, more_url: str
    ) -> None:
        self.store = store
        self.clock = clock
        self.engine = engine
        self.pool = pool
        self.more_url = more_url
        self._runner = runner

    @property
    def board(self) -> Board:
        """The floor and the queue as they are now."""
        return self._runner.board

    def capacity_changed(self) -> None:
        """Have the run loop count the capacity again."""
        self._runner.capacity_changed()

    # --- asking -----------------------------------------------------------------------------------------------

    def ask(self, visitor: Visitor, ask: LeaseAsk, key: str) -> tuple[LeaseView, bool]:
        """Admit a request and start it; return the lease and whether it is new.

        `key` makes it safe to repeat: the same key and body give the same lease. Raises `BadInputError` for what
        cannot be meant, `RefusedError` with the arithmetic for what may not be.
        """
        if not (1 <= len(key) <= 80 and key.isprintable()):
            raise BadInputError("key-missing", field="Idempotency-Key")
        body_hash = hashlib.sha256(ask.model_dump_json().encode()).hexdigest()
        now = self.clock.now()
        with self.store.writing() as unit:
            known = self._repeated(unit, visitor, key, body_hash)
            if known is not None:
                return self.view(known), False
            request = self._request(unit, visitor, ask)
            lease = self._admit(unit, request, ask, now)
            unit.hold(lease, key, body_hash, at=now, actor=visitor.name)
        return self.view(self._answer(self._runner.admitted(lease))), True

    def _repeated(self, unit: Unit, visitor: Visitor, key: str, body_hash: str) -> Lease | None:
        known = unit.by_key(visitor.name, key)
        if known is None:
            return None
        lease_id, hashed = known
        if hashed != body_hash:
            raise ConflictError("key-reused", lease=lease_id)
        return self.board.leases.get(lease_id) or unit.lease(lease_id)

    def _request(self, unit: Unit, visitor: Visitor, ask: LeaseAsk) -> Request:
        project = unit.project_for(ask.project, visitor.name)
        profile = unit.profile(ask.profile)
        return make_request(ask, visitor.name, visitor.server, project, profile, unit.pool(profile.pool))

    def _admit(self, unit: Unit, request: Request, ask: LeaseAsk, now: int) -> Lease:
        slug = request.project.slug
        unit.lock_project(slug)
        in_use = unit.in_use(slug, request.user, request.project.programme)
        decided = self._decide(request, unit.awards(slug, request.profile.pool), in_use, now)
        if isinstance(decided, NvlhubError):
            raise decided
        lease = Lease(
            id=str(uuid.uuid4()), state=State.ASKED, user=request.user, project=slug,
            programme=request.project.programme, profile=request.profile.name, version=request.profile.version,
            pool=request.profile.pool, kind=request.kind, gpus=request.gpus, span=request.profile.span,
            seconds=request.seconds, factor_milli=request.factor_milli, asked_at=now, idle=request.profile.idle,
            label=request.label, server=request.server, mailbox=ask.mailbox,
        )  # fmt: skip
        held, _ = advance(lease, Approved(decided.award, decided.units))
        return held

    def _decide(self, request: Request, awards: Sequence[Award], in_use: InUse, now: int) -> Hold | ConflictError:
        if not fits_ever(request.gpus, request.profile.span, self.board.capacity):
            return ConflictError("never-fits", profile=request.profile.display_name, gpus=request.gpus)
        decided = admit(request, awards, in_use, now)
        return decided if isinstance(decided, Hold) else ConflictError(decided.slug, **decided.members)

    def _answer(self, answer: Future[Lease]) -> Lease:
        try:
            return answer.result(timeout=PATIENCE)
        except FutureTimeoutError:
            raise FailedError("portal-busy") from None

    # --- offers -----------------------------------------------------------------------------------------------

    def offers(self, user: str, lang: str, project: str = "") -> list[Offer]:
        """Return what `user` could start now, per project and published profile, with price and outlook.

        Raises `NotFoundError` for a `project` that the user is no member of.
        """
        now = self.clock.now()
        with self.store.reading() as unit:
            slugs = [project] if project else [row.slug for row in unit.projects_of(user)]
            projects = [unit.project_for(slug, user) for slug in slugs]
            profiles = unit.published_profiles()
            pools = {pool.name: pool for pool in unit.pools()}
            stands = {
                (paying.slug, pool): (unit.awards(paying.slug, pool), unit.in_use(paying.slug, user, paying.programme))
                for paying in projects
                for pool in pools
            }
        room = {profile.name: self._room(profile) for profile in profiles}
        return [
            self._offer(user, paying, profile, pools[profile.pool], stands[paying.slug, profile.pool], room, now, lang)
            for paying in projects
            for profile in profiles
        ]

    def _room(self, profile: Profile) -> tuple[int, int | None]:
        """Return how many could start now, and in how many seconds the next one could."""
        board = self.board
        waiting = board.waiting
        free = 0 if waiting else count_free(profile.gpus, profile.span, board.domains)
        if free:
            return free, 0
        asked = Waiting("", profile.gpus, profile.span, profile.longest)
        start = expected_start(board.domains, board.running, waiting, asked, board.at)
        return 0, None if start is None else max(0, start - board.at)

    def _offer(
        self,
        user: str,
        paying: Project,
        profile: Profile,
        pool: Pool,
        stand: tuple[Sequence[Award], InUse],
        room: dict[str, tuple[int, int | None]],
        now: int,
        lang: str,
    ) -> Offer:
        awards, in_use = stand
        request = make_request(LeaseAsk(project=paying.slug, profile=profile.name), user, "", paying, profile, pool)
        decided = self._decide(request, awards, in_use, now)
        free_now, wait = room[profile.name]
        return Offer(
            project=paying.slug, project_name=paying.name, profile=profile.name, version=profile.version,
            display_name=profile.display_name, gpus=profile.gpus, span=profile.span, pool=pool.name,
            gpu_model=pool.gpu_model, simulated=self.engine.simulated, factor_milli=pool.factor_milli,
            price_milli=profile.gpus * pool.factor_milli, longest=profile.longest, idle=profile.idle,
            hold=request.hold, left=sum(award.left for award in awards if award.starts <= now < award.ends),
            free_now=free_now, expected_wait=wait, why_not=self._why_not(decided, lang),
        )  # fmt: skip

    def _why_not(self, decided: Hold | ConflictError, lang: str) -> Problem | None:
        return problem(decided, lang, more_url=self.more_url) if isinstance(decided, ConflictError) else None

    # --- looking ----------------------------------------------------------------------------------------------

    def lease(self, visitor: Visitor, lease_id: str, lang: str = "en") -> LeaseView:
        """Return a lease of the visitor's (any, to an admin). Raises `NotFoundError`."""
        return self.view(self._own(visitor, lease_id), lang)

    def leases(
        self, visitor: Visitor, *, user: str = "", state: str = "active", page: int = 1, per_page: int = 50,
        lang: str = "en",
    ) -> tuple[list[LeaseView], int]:  # fmt: skip
        """Return a page of leases, the newest first, and how many there are. An empty `user` is everybody to an admin."""
        if user != visitor.name and not visitor.admin:
            raise NotAllowedError("not-allowed")
        with self.store.reading() as unit:
            found, total = unit.leases(user=user or None, state=state, page=page, per_page=per_page)
        return [self.view(self.board.leases.get(lease.id, lease), lang) for lease in found], total

    def _own(self, visitor: Visitor, lease_id: str) -> Lease:
        lease = self.board.leases.get(lease_id)
        if lease is None:
            with self.store.reading() as unit:
                lease = unit.lease(lease_id)
        if lease is None or not (visitor.admin or lease.user == visitor.name):
            raise NotFoundError("lease-unknown", lease=lease_id[:40])
        return lease

    def view(self, lease: Lease, lang: str = "en") -> LeaseView:
        """Return a lease as its holder sees it."""
        outlook = self.board.outlook.get(lease.id) if lease.state is State.HELD else None
        return LeaseView(
            id=lease.id, state=lease.state, user=lease.user, project=lease.project, profile=lease.profile,
            kind=lease.kind, label=lease.label, server=lease.server, gpus=lease.gpus, pool=lease.pool,
            placement=lease.placement, devices=self.engine.devices(lease.placement),
            simulated=self.engine.simulated, factor_milli=lease.factor_milli, seconds=lease.seconds, held=lease.held,
            charged=lease.charged, refunded=lease.refunded, asked_at=lease.asked_at, started_at=lease.started_at,
            deadline=lease.deadline, ended_at=lease.ended_at, end_reason=lease.end_reason,
            detail=self._detail(lease, lang), position=outlook.position if outlook else None,
            expected_start=outlook.start if outlook else None, now=self.clock.now(),
        )  # fmt: skip

    def _detail(self, lease: Lease, lang: str) -> str:
        if lease.end_reason is not None:
            return sentence(f"end-{lease.end_reason}", lang, note=f"({lease.note})" if lease.note else "").strip()
        return sentence("waiting-for-room", lang) if lease.state is State.HELD else ""

    # --- changing ---------------------------------------------------------------------------------------------

    def beat(self, visitor: Visitor, lease_id: str, beat: Beat, lang: str) -> BeatAnswer:
        """Take a sign of life of a lease; with phase ``ended``, its end."""
        lease = self._own(visitor, lease_id)
        if beat.phase == "ended":
            lease = self._end(lease, EndReason.USER, visitor)
        else:
            idle = 0 if beat.gpu_busy else beat.idle_seconds
            lease = replace(self._runner.beat(lease_id, idle) or lease, idle_seconds=idle)
        now = self.clock.now()
        notice = warning(lease, now)
        return BeatAnswer(
            state=lease.state,
            deadline=lease.deadline,
            end_reason=lease.end_reason,
            warn=sentence(notice.slug, lang, seconds=notice.seconds) if notice else "",
            now=now,
        )

    def extend(self, visitor: Visitor, lease_id: str, extend: Extend, lang: str = "en") -> LeaseView:
        """Pay for more time of a running lease, while balance, award and profile allow it.

        A lease may be extended up to twice the profile's longest time in all.
        """
        lease = self._own(visitor, lease_id)
        now = self.clock.now()
        with self.store.reading() as unit:
            profile = unit.profile(lease.profile)
            awards = [award for award in unit.awards(lease.project, lease.pool) if award.id == lease.award]
            project = unit.project_for(lease.project, lease.user)
        most = 2 * profile.longest
        if lease.seconds + extend.seconds > most:
            raise BadInputError(
                "extend-too-long", field="seconds", given=extend.seconds, most_seconds=max(0, most - lease.seconds)
            )
        units = lease.gpus * extend.seconds * lease.factor_milli
        award = awards[0] if awards else None
        if award is None or award.left < units:
            left = award.left if award else 0
            raise ConflictError("extend-balance", project=project.name, hold=units, left=left, gpus=lease.gpus)
        if lease.deadline is not None and lease.deadline + extend.seconds > award.ends:
            raise ConflictError("extend-award-ends", project=project.name, ends_in=max(0, award.ends - now))
        moved = self._answer(self._runner.tell(lease_id, Extended(extend.seconds, units), visitor.name))
        return self.view(moved, lang)

    def end(self, visitor: Visitor, lease_id: str, lang: str = "en") -> LeaseView:
        """End a lease; one that has ended stays as it is."""
        lease = self._own(visitor, lease_id)
        reason = EndReason.USER if lease.user == visitor.name else EndReason.ADMIN
        return self.view(self._end(lease, reason, visitor), lang)

    def server_stopped(self, visitor: Visitor, server: str) -> list[str]:
        """End all leases of a Jupyter server that is gone; for the hub alone."""
        if not visitor.hub:
            raise NotAllowedError("not-allowed")
        held = [lease for lease in self.board.leases.values() if lease.server == server]
        for lease in held:
            self._end(lease, EndReason.USER, visitor)
        return [lease.id for lease in held]

    def _end(self, lease: Lease, reason: EndReason, visitor: Visitor) -> Lease:
        if not lease.active or lease.state is State.ENDING:
            return lease
        try:
            return self._answer(self._runner.tell(lease.id, End(reason, self.clock.now()), visitor.name))
        except ConflictError:
            # Somebody else was quicker; the end that was asked for has come about.
            with self.store.reading() as unit:
                return unit.lease(lease.id) or lease
