"""Use cases of leases: offer, ask, look, beat, extend, end. Rules about who may are checked here."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import replace

from nvlhub.board import Board, keepers_of
from nvlhub.clock import SteadyClock
from nvlhub.dates import shown
from nvlhub.engines.base import Engine
from nvlhub.errors import (
    BadInputError,
    ConflictError,
    FailedError,
    NotAllowedError,
    NotFoundError,
    NvlhubError,
    RefusedError,
)
from nvlhub.explain import problem, sentence
from nvlhub.flow.lease import Approved, End, Extended, Lease, advance
from nvlhub.flow.metering import idle_for, warning
from nvlhub.flow.placement import Domain, count_free, fits_ever, most_ever, only_cells
from nvlhub.flow.queue import Wait, Waiting, expected_start
from nvlhub.flow.quota import Award, Hold, InUse, Refusal, admit_together
from nvlhub.flow.request import SHORTEST, Pool, Profile, Project, Request, check_audience, make_request
from nvlhub.flow.slot import Seated, Stay
from nvlhub.logs import about
from nvlhub.observer import SILENT, Observer
from nvlhub.run import Runner
from nvlhub.store import Store, Unit
from nvlhub.telemetry import Telemetry
from nvlhub.text import has
from nvlhub.visitor import Visitor
from nvlhub.waits import BEFORE
from nvlhub.wire import (
    Beat,
    BeatAnswer,
    Beaten,
    Beats,
    EndReason,
    Extend,
    Kind,
    LeaseAsk,
    LeaseView,
    Offer,
    Problem,
    State,
    WorkersAsk,
)

PATIENCE = 10.0
"""Seconds to wait for the run loop's answer."""
SHORTEST_EXTENSION = 60


class Desk:
    """What visitors can do with leases."""

    def __init__(
        self, store: Store, runner: Runner, engine: Engine, clock: SteadyClock, *, pool: str, more_url: str,
        private_fabric: bool = False, observer: Observer = SILENT, zone: str = "UTC",
    ) -> None:  # fmt: skip
        self.store = store
        self.clock = clock
        self.engine = engine
        self.pool = pool
        self.more_url = more_url
        self.observer = observer
        self.zone = zone
        self.telemetry = Telemetry(store, clock, lambda: runner.board)
        self._private_fabric = private_fabric
        self._runner = runner

    @property
    def board(self) -> Board:
        """The floor and the queue as they are now."""
        return self._runner.board

    def capacity_changed(self) -> None:
        """Have the run loop count the capacity again."""
        self._runner.capacity_changed()

    # --- asking -----------------------------------------------------------------------------------------------

    def ask(self, visitor: Visitor, ask: LeaseAsk, key: str, *, judged: bool = False) -> tuple[LeaseView, bool]:
        """Admit a request and start it; return the lease and whether it is new.

        `judged`: the portal itself asks, for what a learner handed in, which may be judged after the end of the class.
        `key` makes it safe to repeat: the same key and body give the same lease. Raises `BadInputError` for what
        cannot be meant, `RefusedError` with the arithmetic for what may not be.
        """
        [lease], fresh = self._open(visitor, ask, key, 1, judged=judged)
        return lease, fresh

    def ask_together(self, visitor: Visitor, ask: WorkersAsk, key: str) -> tuple[list[LeaseView], bool]:
        """Admit several workers of one shape, all or none, and start those that there is room for.

        Raises as :meth:`ask` does; without `wait` fewer may be granted, and a `ConflictError` says that there is no
        room for even one.
        """
        return self._open(visitor, ask, key, ask.count, wait=ask.wait)

    def _open(
        self, visitor: Visitor, ask: LeaseAsk, key: str, count: int, *, wait: bool = True, judged: bool = False
    ) -> tuple[list[LeaseView], bool]:  # fmt: skip
        begun = time.monotonic()
        try:
            leases, fresh = self._hold(visitor, ask, key, count, wait=wait, judged=judged)
        except RefusedError as error:
            self.observer.refused(error.slug)
            raise
        if not fresh:
            return [self.view(lease) for lease in leases], False
        self.observer.admitted(ask.kind, len(leases), time.monotonic() - begun)
        with about(leases[0].id):
            first = self._answer(self._runner.admitted(*leases))
        return [self.view(first), *(self.view(self.board.leases.get(lease.id, lease)) for lease in leases[1:])], True

    def _hold(
        self, visitor: Visitor, ask: LeaseAsk, key: str, count: int, *, wait: bool, judged: bool
    ) -> tuple[list[Lease], bool]:  # fmt: skip
        """Save leases as held; return them and whether they are new. One transaction."""
        if not (1 <= len(key) <= 80 and key.isprintable()):
            raise BadInputError("key-missing", field="Idempotency-Key")
        if ask.mailbox is None:
            raise BadInputError("mailbox-missing", field="mailbox")
        body_hash = hashlib.sha256(ask.model_dump_json().encode()).hexdigest()
        now = self.clock.now()
        with self._runner.saving() as unit:
            # Before the key is looked for: of two that come with it at once the second finds what the first one made.
            unit.lock_project(ask.project, visitor.name)
            known = self._repeated(unit, visitor, key, body_hash)
            if known:
                return known, False
            parent = self._parent(visitor, ask)
            request = self._request(unit, visitor, ask, parent, now)
            seated = unit.seated(request.project.slug, visitor.name, now, count * request.gpus)
            stays = unit.stays(request.project.slug, visitor.name)
            request = _in_slot(request, seated, count, now)
            if not judged:
                request = _in_class(request, seated, stays, now)
            leases = self._admit(unit, request, ask, count if wait else min(count, self._room_now(request, ask)), now)
            run = seated.run if seated is not None else _latest(stays, now)
            leases = [replace(lease, run=run) for lease in leases]
            unit.hold(leases, key, body_hash, at=now, actor=visitor.name)
        return leases, True

    def _parent(self, visitor: Visitor, ask: LeaseAsk) -> Lease | None:
        """Return the lease of the kernel that a worker belongs to. Raises `ConflictError` for one that cannot have any."""
        if ask.parent is None:
            return None
        if ask.kind is not Kind.WORKER:
            raise BadInputError("parent-of-worker", field="parent")
        parent = self.board.leases.get(ask.parent)
        if parent is None or parent.user != visitor.name:
            raise NotFoundError("lease-unknown", lease=ask.parent[:40])
        if parent.state is State.ENDING or parent.kind is Kind.WORKER:
            raise ConflictError("parent-cannot", lease=parent.id)
        return parent

    def _repeated(self, unit: Unit, visitor: Visitor, key: str, body_hash: str) -> list[Lease]:
        known = unit.by_key(visitor.name, key)
        if known is None:
            return []
        lease_ids, hashed = known
        if hashed != body_hash:
            raise ConflictError("key-reused", lease=lease_ids[0])
        found = (self.board.leases.get(lease_id) or unit.lease(lease_id) for lease_id in lease_ids)
        return [lease for lease in found if lease is not None]

    def _request(self, unit: Unit, visitor: Visitor, ask: LeaseAsk, parent: Lease | None, now: int) -> Request:
        project = unit.project_for(ask.project, visitor.name)
        profile = self._profile(unit, visitor, ask, project)
        if ask.seconds is None and parent is not None and parent.deadline is not None:
            # A hold beyond the kernel's own end would keep GPU-hours from others for nothing.
            ask = ask.model_copy(update={"seconds": min(profile.longest, max(SHORTEST, parent.deadline - now))})
        return make_request(ask, visitor.name, visitor.server, project, profile, unit.pool(profile.pool))

    def _profile(self, unit: Unit, visitor: Visitor, ask: LeaseAsk, project: Project) -> Profile:
        """Return what is to be started: the published version, or to an administrator any that they try out."""
        if ask.version is not None and visitor.admin:
            tried = unit.profile(ask.profile, ask.version)
            if tried.pool != self.pool:
                # Publishing would have refused it.
                raise ConflictError("pool-not-here", pool=tried.pool)
            return tried
        profile = unit.profile(ask.profile)
        if ask.version not in {None, profile.version}:
            raise NotAllowedError("profile-draft", profile=profile.display_name, version=ask.version)
        check_audience(profile, project)
        return profile

    def _room_now(self, request: Request, ask: LeaseAsk) -> int:
        """Return how many such leases there is room for now. Raises `ConflictError` when there is none."""
        board = self.board
        ahead = board.ahead_of(preemptible=request.preemptible)
        asked = Waiting(
            "", request.gpus, request.profile.span, request.seconds, project=request.project.slug,
            notice=board.notice if request.preemptible else None,
        )  # fmt: skip
        reach = _reach(ask, board.domains)
        free = _count_open(asked, reach, board, self._moment(board), nobody_ahead=not ahead)
        if not free:
            raise ConflictError("no-room", profile=request.profile.display_name, gpus=request.gpus)
        return free

    def _admit(self, unit: Unit, request: Request, ask: LeaseAsk, count: int, now: int) -> list[Lease]:
        slug = request.project.slug
        in_use = unit.in_use(slug, request.user, request.project.programme)
        self._check_reach(request, ask, count)
        decided = self._decide(request, count, unit.awards(slug, request.profile.pool), in_use, now)
        if isinstance(decided, NvlhubError):
            raise decided
        return [self._lease(request, ask, hold, now) for hold in decided]

    def _lease(self, request: Request, ask: LeaseAsk, hold: Hold, now: int) -> Lease:
        lease = Lease(
            id=str(uuid.uuid4()), state=State.ASKED, user=request.user, project=request.project.slug,
            programme=request.project.programme, profile=request.profile.name, version=request.profile.version,
            pool=request.profile.pool, kind=request.kind, gpus=request.gpus, span=request.profile.span,
            seconds=request.seconds, factor_milli=request.factor_milli, asked_at=now, idle=request.profile.idle,
            label=request.label, server=request.server, parent=ask.parent or "", domain=ask.domain or "",
            pinned=ask.pinned, mailbox=ask.mailbox, preemptible=request.preemptible,
        )  # fmt: skip
        held, _ = advance(lease, Approved(hold.award, hold.units))
        return held

    def _check_reach(self, request: Request, ask: LeaseAsk, count: int) -> None:
        """Raise `ConflictError` when so many workers can never be placed where they may be.

        What the kernel and its other workers hold stays theirs: it counts as taken.
        """
        reach = _reach(ask, self.board.capacity)
        if ask.pinned and not reach:
            raise NotFoundError("domain-unknown", domain=str(ask.domain))
        if ask.kind is not Kind.WORKER:
            return
        family = [
            lease.placement
            for lease in self.board.leases.values()
            if _kin(ask, request, lease) and lease.state is not State.ENDING
        ]
        most = most_ever(request.gpus, request.profile.span, reach, family)
        if most < count:
            slug, where = ("never-fit-domain", ask.domain) if ask.pinned else ("never-fit-pool", request.profile.pool)
            raise ConflictError(slug, gpus=request.gpus, count=count, largest_count=most, where=where)

    def _decide(
        self, request: Request, count: int, awards: Sequence[Award], in_use: InUse, now: int
    ) -> tuple[Hold, ...] | ConflictError:  # fmt: skip
        if not fits_ever(request.gpus, request.profile.span, self.board.capacity):
            return ConflictError("never-fits", profile=request.profile.display_name, gpus=request.gpus)
        decided = admit_together(request, count, awards, in_use, now)
        return ConflictError(decided.slug, **decided.members) if isinstance(decided, Refusal) else decided

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
            seats = {
                paying.slug: (unit.seated(paying.slug, user, now), unit.stays(paying.slug, user)) for paying in projects
            }  # fmt: skip
        keepers = keepers_of(self.board.kept)
        # Projects of a programme are told apart where something is kept for one of them.
        turns = {paying.slug: (paying.programme, paying.slug if paying.slug in keepers else "") for paying in projects}
        room = {
            (profile.name, *turn): self._room(profile, *turn) for profile in profiles for turn in set(turns.values())
        }
        return [
            self._offer(
                user, paying, profile, pools[profile.pool], stands[paying.slug, profile.pool],
                room[profile.name, *turns[paying.slug]], seats[paying.slug], now, lang,
            )
            for paying in projects
            for profile in profiles
            if profile.audience.has(paying.slug, paying.programme)
        ]  # fmt: skip

    def _room(self, profile: Profile, programme: str, project: str) -> tuple[int, int | None]:
        """Return how many could start now, and in how many seconds the next one of a programme could.

        `project`: whose it is, where something is kept for it.
        """
        board = self.board
        if board.away or board.closed:
            return 0, None
        now = self._moment(board)
        ahead = board.ahead_of(preemptible=False)
        asked = Waiting(
            "", profile.gpus, profile.span, profile.longest, programme=programme, asked_at=now, project=project
        )  # fmt: skip
        free = _count_open(asked, board.domains, board, now, nobody_ahead=not ahead)
        if free:
            return free, 0
        start = expected_start(
            board.domains, board.running, ahead, asked, now, board.rules, board.held, board.kept
        )  # fmt: skip
        if start is not None and start <= now:
            # Others wait, and none of them any longer for it: the next one starts, whatever becomes of a second one.
            return 1, 0
        return 0, None if start is None else start - now

    def _moment(self, board: Board) -> int:
        """Return what time it is: a board stays while nothing changes, and reservations come nearer."""
        return max(board.at, self.clock.now())

    def _offer(
        self,
        user: str,
        paying: Project,
        profile: Profile,
        pool: Pool,
        stand: tuple[Sequence[Award], InUse],
        room: tuple[int, int | None],
        seats: tuple[Seated | None, Sequence[Stay]],
        now: int,
        lang: str,
    ) -> Offer:
        (awards, in_use), (seated, stays) = stand, seats
        request = make_request(LeaseAsk(project=paying.slug, profile=profile.name), user, "", paying, profile, pool)
        decided: tuple[Hold, ...] | ConflictError
        try:
            request = _in_class(_in_slot(request, seated, 1, now), seated, stays, now)
        except ConflictError as error:
            decided = error
        else:
            decided = self._decide(request, 1, awards, in_use, now)
        free_now, wait = room
        left = sum(award.left for award in awards if award.pays(now))
        return Offer(
            project=paying.slug, project_name=paying.name, profile=profile.name, version=profile.version,
            display_name=profile.display_name, gpus=profile.gpus, span=profile.span, pool=pool.name,
            gpu_model=pool.gpu_model, simulated=self.engine.simulated, private_fabric=self._private_fabric,
            factor_milli=request.factor_milli,
            price_milli=profile.gpus * request.factor_milli if request.hold else 0, longest=profile.longest, idle=profile.idle,
            # A guest is told whether the balance suffices, not what it is.
            hold=request.hold, left=min(left, request.hold) if stays else left,
            free_now=free_now, expected_wait=wait, queue_outside=self.board.queue_outside if wait else 0, why_not=self._why_not(decided, lang),
            low_priority=isinstance(decided, ConflictError) and bool(decided.members.get("low_priority")),
        )  # fmt: skip

    def _why_not(self, decided: tuple[Hold, ...] | ConflictError, lang: str) -> Problem | None:
        return problem(decided, lang, more_url=self.more_url) if isinstance(decided, ConflictError) else None

    # --- looking ----------------------------------------------------------------------------------------------

    def lease(self, visitor: Visitor, lease_id: str, lang: str = "en") -> LeaseView:
        """Return a lease that is the visitor's to see. Raises `NotFoundError`."""
        return self.view(self._seen(visitor, lease_id), lang)

    def leases(
        self, visitor: Visitor, *, user: str | None = None, project: str = "", state: str = "active", parent: str = "",
        heads: bool = False, page: int = 1, per_page: int = 50, lang: str = "en",
    ) -> tuple[list[LeaseView], int]:  # fmt: skip
        """Return a page of leases, the newest first, and how many there are: without a `user` all that are to be seen.

        `project` leaves those of a project: all of them to those who answer for it and to its programme's officers.
        `parent` leaves those of one kernel's workers, `heads` those that belong to no other lease. Raises
        `NotFoundError` for a project that is not theirs to see, `NotAllowedError` for other users' leases.
        """
        with self.store.reading() as unit:
            found, total = unit.leases(
                user=self._whose(unit, visitor, user, project), project=project or None, state=state,
                parent=parent or None, heads=heads, page=page, per_page=per_page,
            )  # fmt: skip
        return self._with_workers([self.view(self.board.leases.get(lease.id, lease), lang) for lease in found]), total

    def _whose(self, unit: Unit, visitor: Visitor, user: str | None, project: str) -> str | None:
        """Return whose leases a list holds; None: everybody's."""
        if user == visitor.name:
            return user
        if not (visitor.admin or project):
            if user is not None:
                raise NotAllowedError("not-allowed")
            return visitor.name
        roles, row = unit.roles(visitor.name), unit.project(project) if project else {}
        if visitor.admin or roles.leads(project) or row["programme"] in roles.officer_of:
            return user
        if project not in roles.projects:
            raise NotFoundError("project-unknown", project=project)
        if user is not None:
            raise NotAllowedError("not-allowed")
        return visitor.name

    def _with_workers(self, views: list[LeaseView]) -> list[LeaseView]:
        """Say of each lease what belongs to it; nothing belongs to workers."""
        heads = {view.id for view in views if not view.parent}
        count, gpus = Counter[str](), Counter[str]()
        for lease in self.board.leases.values() if heads else ():
            if lease.parent in heads:
                count[lease.parent] += 1
                gpus[lease.parent] += lease.gpus
        return [
            view.model_copy(update={"workers": count[view.id], "worker_gpus": gpus[view.id]})
            if count[view.id]
            else view
            for view in views
        ]

    def _found(self, lease_id: str) -> Lease:
        lease = self.board.leases.get(lease_id)
        if lease is None:
            with self.store.reading() as unit:
                lease = unit.lease(lease_id)
        if lease is None:
            raise NotFoundError("lease-unknown", lease=lease_id[:40])
        return lease

    def _own(self, visitor: Visitor, lease_id: str) -> Lease:
        lease = self._found(lease_id)
        if not (visitor.admin or lease.user == visitor.name):
            raise NotFoundError("lease-unknown", lease=lease_id[:40])
        return lease

    def _seen(self, visitor: Visitor, lease_id: str, *, to_end: bool = False) -> Lease:
        """Return a lease that the visitor holds or answers for.

        Officers see those of their programme. `to_end`: they do not end them (`NotAllowedError`).
        """
        lease = self._found(lease_id)
        if visitor.admin or lease.user == visitor.name:
            return lease
        with self.store.reading() as unit:
            roles = unit.roles(visitor.name)
        if roles.leads(lease.project):
            return lease
        if lease.programme not in roles.officer_of:
            raise NotFoundError("lease-unknown", lease=lease_id[:40])
        if to_end:
            raise NotAllowedError("not-allowed")
        return lease

    def view(self, lease: Lease, lang: str = "en") -> LeaseView:
        """Return a lease as its holder sees it."""
        # While the engine is away or closed, when something starts cannot be foreseen.
        waits = lease.state is State.HELD and not (self.board.away or self.board.closed)
        outlook = self.board.outlook.get(lease.id) if waits else None
        wait = self._wait(lease)
        return LeaseView(
            id=lease.id, state=lease.state, user=lease.user, project=lease.project, profile=lease.profile,
            version=lease.version, kind=lease.kind, label=lease.label, server=lease.server, parent=lease.parent, gpus=lease.gpus, pool=lease.pool,
            placement=lease.placement, devices=self.engine.devices(lease.placement),
            simulated=self.engine.simulated, private_fabric=self._private_fabric, factor_milli=lease.factor_milli, seconds=lease.seconds, held=lease.held,
            charged=lease.charged, refunded=lease.refunded, asked_at=lease.asked_at, started_at=lease.started_at,
            deadline=lease.deadline, beat_at=lease.beat_at, kept_until=self._runner.kept_until(lease), stands_still=self._still(lease, lang), idle_seconds=lease.idle_seconds, idle=lease.idle, preemptible=lease.preemptible, preempt_at=lease.preempt_at,
            ended_at=lease.ended_at, end_reason=lease.end_reason,
            detail=self._detail(lease, lang), position=outlook.position if outlook else None,
            expected_start=outlook.start if outlook else wait.start if wait else None,
            queue_outside=self.board.queue_outside if outlook else 0, now=self.clock.now(),
        )  # fmt: skip

    def _detail(self, lease: Lease, lang: str) -> str:
        if lease.end_reason is not None:
            if lease.end_reason is EndReason.ADMIN and lease.note:
                return sentence("end-lead", lang, lead=lease.note)
            # An engine tells in its own words, or by the id of a sentence.
            note = sentence(lease.note, lang) if lease.note and has(lease.note) else lease.note
            if lease.end_reason is EndReason.LOST and note:
                return sentence("end-gone", lang, note=note)
            return sentence(f"end-{lease.end_reason}", lang, note=f"({note})" if note else "").strip()
        if self.board.away and lease.state in BEFORE:
            return sentence("engine-away-waiting", lang)
        if lease.state is State.HELD and self.board.closed:
            return sentence("slurm-wait-closed", lang)
        if lease.state is State.HELD:
            words = sentence("waiting-for-room", lang)
            outside = self.board.queue_outside
            return f"{words} {sentence('waiting-outside', lang, count=outside)}" if outside else words
        wait = self._wait(lease)
        return sentence(wait.reason, lang) if wait else ""

    def _still(self, lease: Lease, lang: str) -> str:
        """Return why the engine does not let a lease go on that runs."""
        wait = self.board.waits.get(lease.id) if lease.state is State.RUNNING and not self.board.away else None
        return sentence(wait.reason, lang) if wait else ""

    def _wait(self, lease: Lease) -> Wait | None:
        """Return why the engine does not run a lease yet that it was given."""
        return None if self.board.away or lease.state not in BEFORE else self.board.waits.get(lease.id)

    # --- changing ---------------------------------------------------------------------------------------------

    def beat(self, visitor: Visitor, lease_id: str, beat: Beat, lang: str) -> BeatAnswer:
        """Take a sign of life of a lease; with phase ``ended``, its end."""
        lease = self._own(visitor, lease_id)
        if beat.phase == "ended":
            lease = self._end(lease, _reason(lease, visitor), visitor)
        else:
            works = self.telemetry.gpu_works(lease_id)
            busy = bool(beat.gpu_busy) if works is None else works
            idle = idle_for(lease, self.clock.now(), beat.idle_seconds, gpu_busy=busy)
            lease = replace(self._runner.beat(lease_id, idle) or lease, idle_seconds=idle)
            if beat.sample is not None and beat.sample.real is not self.engine.simulated:
                self.telemetry.take(lease, beat.sample.gpus, real=beat.sample.real)
        now = self.clock.now()
        notice = warning(lease, now)
        self.telemetry.warned(lease, notice.slug if notice else "")
        return BeatAnswer(
            state=lease.state,
            deadline=lease.deadline,
            end_reason=lease.end_reason,
            warn=sentence(notice.slug, lang, seconds=notice.seconds) if notice else "",
            now=now,
        )

    def beat_all(self, visitor: Visitor, beats: Beats, lang: str) -> list[Beaten]:
        """Take signs of life of many leases; those that are not the visitor's are left out."""
        told = []
        for lease_id, beat in beats.beats.items():
            with about(lease_id), suppress(NotFoundError):
                said = self.beat(visitor, lease_id, beat, lang)
                told.append(Beaten(lease=self.lease(visitor, lease_id, lang), warn=said.warn))
        return told

    def extend(self, visitor: Visitor, lease_id: str, extend: Extend, lang: str = "en") -> LeaseView:
        """Pay for more time of a running lease, while balance, award and profile allow it.

        A lease may be extended up to twice the profile's longest time in all. A pre-emptible one costs nothing then
        either, as long as its programme allows such leases and its award is valid.
        """
        return self._extend(self._own(visitor, lease_id), extend, visitor, lang)

    def _extend(self, lease: Lease, extend: Extend, visitor: Visitor, lang: str) -> LeaseView:
        now = self.clock.now()
        with self.store.reading() as unit:
            # What was promised at the start holds, whatever was published since.
            profile = unit.profile(lease.profile, lease.version)
            awards = [award for award in unit.awards(lease.project, lease.pool) if award.id == lease.award]
            project = unit.project_for(lease.project, lease.user)
        most = 2 * profile.longest
        if lease.seconds + extend.seconds > most:
            raise BadInputError(
                "extend-too-long", field="seconds", given=extend.seconds, most_seconds=max(0, most - lease.seconds)
            )
        units = lease.gpus * extend.seconds * lease.factor_milli if lease.pays else 0
        award = awards[0] if awards else None
        if lease.preemptible and not project.low_priority:
            raise ConflictError("preemptible-off", profile=profile.display_name, project=project.name)
        if award is None or award.left < units:
            left = award.left if award else 0
            raise ConflictError("extend-balance", project=project.name, hold=units, left=left, gpus=lease.gpus)
        ends = now if award.revoked and lease.preemptible else award.ends
        if lease.deadline is not None and lease.deadline + extend.seconds > ends:
            raise ConflictError("extend-award-ends", project=project.name, ends_in=max(0, ends - now))
        self._check_kept(lease, extend.seconds, now)
        latest = min((lease.started_at or now) + most, award.ends)
        if lease.in_slot and lease.run is not None:
            with self.store.reading() as unit:
                latest = min(latest, unit.slot_ends(lease.run, now))
            deadline = lease.deadline or now
            if deadline + extend.seconds > latest:
                raise ConflictError("extend-slot", most_seconds=max(0, latest - deadline))
        latest = self._class_ends(lease, extend.seconds, latest, now)
        moved = self._answer(self._runner.tell(lease.id, Extended(extend.seconds, units, latest), visitor.name))
        return self.view(moved, lang)

    def _class_ends(self, lease: Lease, seconds: int, latest: int, now: int) -> int:
        """Return until when a lease may go on at the latest: a guest's with their class. Raises `ConflictError`."""
        with self.store.reading() as unit:
            stays = unit.stays(lease.project, lease.user)
        if not stays:
            return latest
        latest = min(latest, max((stay.ends for stay in stays if stay.run == lease.run), default=now))
        deadline = lease.deadline or now
        if deadline + seconds > latest:
            raise ConflictError("extend-class", most_seconds=max(0, latest - deadline))
        return latest

    def leases_of_run(self, run: int, user: str = "") -> list[Lease]:
        """Return the active leases of a run, or those of one who has a seat in it."""
        return [lease for lease in self.board.leases.values() if lease.run == run and user in {"", lease.user}]

    def extend_in_run(
        self, visitor: Visitor, run: int, until: int, user: str = "", lang: str = "en"
    ) -> tuple[int, list[tuple[str, NvlhubError]]]:
        """Have running leases of a run go on until a time; return how many do now, and which cannot, and why.

        Whether the visitor may was decided by whoever calls: it is for those who teach the run.
        """
        done = 0
        refused: list[tuple[str, NvlhubError]] = []
        for lease in self.leases_of_run(run, user):
            if (
                lease.state is not State.RUNNING
                or lease.deadline is None
                or until - lease.deadline < SHORTEST_EXTENSION
            ):
                continue
            with about(lease.id):
                try:
                    self._extend(lease, Extend(seconds=until - lease.deadline), visitor, lang)
                except NvlhubError as error:
                    refused.append((lease.id, error))
                else:
                    done += 1
        return done, refused

    def end_in_run(self, visitor: Visitor, run: int, user: str = "") -> list[str]:
        """End the leases of a run, or those of one seat. Whether the visitor may was decided by whoever calls."""
        return self._end_all(visitor, self.leases_of_run(run, user))

    def end_in_project(self, visitor: Visitor, project: str, user: str) -> list[str]:
        """End the leases of somebody who is no member of a project any more. Who may was decided by whoever calls."""
        held = [lease for lease in self.board.leases.values() if (lease.project, lease.user) == (project, user)]
        return self._end_all(visitor, held)

    def _end_all(self, visitor: Visitor, held: Sequence[Lease]) -> list[str]:
        for lease in held:
            with about(lease.id):
                self._end(lease, EndReason.ADMIN, visitor)
        return [lease.id for lease in held]

    def _check_kept(self, lease: Lease, seconds: int, now: int) -> None:
        """Raise `ConflictError` when a lease would still run on trays that are kept for others by then."""
        starts, ends = lease.started_at or now, lease.deadline or now + lease.seconds
        first = min(
            (
                one.starts
                for one in self.board.kept
                if one.is_closed(lease.project, starts, ends + seconds) and one.touches(lease.placement)
            ),
            default=None,
        )
        # One that is pre-emptible is told to make room.
        if first is not None and not lease.preemptible:
            raise ConflictError("extend-reserved", most_seconds=max(0, first - ends))

    def end(self, visitor: Visitor, lease_id: str, lang: str = "en") -> LeaseView:
        """End a lease; one that has ended stays as it is. Who answers for its project may, and is named to its holder."""
        lease = self._seen(visitor, lease_id, to_end=True)
        return self.view(self._end(lease, _reason(lease, visitor), visitor), lang)

    def drop(self, user: str, key: str) -> None:
        """End what was asked for with a key, if anything was: for what the portal itself asks for in a user's name."""
        with self.store.reading() as unit:
            known = unit.by_key(user, key)
            held = [unit.lease(lease_id) for lease_id in (known[0] if known else ())]
        for lease in filter(None, held):
            with about(lease.id):
                self._end(self.board.leases.get(lease.id, lease), EndReason.USER, Visitor(user))

    def server_stopped(self, visitor: Visitor, server: str) -> list[str]:
        """End all leases of a Jupyter server that is gone; for the hub alone."""
        if not visitor.hub:
            raise NotAllowedError("not-allowed")
        held = [lease for lease in self.board.leases.values() if lease.server == server]
        for lease in held:
            with about(lease.id):
                self._end(lease, EndReason.USER, visitor)
        return [lease.id for lease in held]

    def _end(self, lease: Lease, reason: EndReason, visitor: Visitor) -> Lease:
        if not lease.active or lease.state is State.ENDING:
            return lease
        lead = "" if reason is EndReason.USER or visitor.admin else visitor.name
        try:
            ended = self._answer(self._runner.tell(lease.id, End(reason, self.clock.now(), lead), visitor.name))
        except ConflictError:
            # Somebody else was quicker; the end that was asked for has come about.
            with self.store.reading() as unit:
                return unit.lease(lease.id) or lease
        if reason is EndReason.ADMIN:
            with self.store.writing() as unit:
                unit.note(
                    "lease-end", f"lease:{lease.id}", at=self.clock.now(), actor=visitor.name,
                    programme=lease.programme, project=lease.project, user=lease.user,
                )  # fmt: skip
        return ended


def _reason(lease: Lease, visitor: Visitor) -> EndReason:
    return EndReason.USER if lease.user == visitor.name else EndReason.ADMIN


def _in_slot(request: Request, seated: Seated | None, count: int, now: int) -> Request:
    """Return a request as it is where the slot of a run pays for it: it ends with the run then.

    Raises `ConflictError` in the last moments of a run.
    """
    if seated is None or request.preemptible or not seated.covers(count * request.gpus):
        return request
    seconds = min(request.seconds, seated.ends - now)
    if seconds < SHORTEST:
        raise ConflictError("slot-ends", most_seconds=seconds)
    return replace(request, seconds=seconds, slot=seated.award)


def _in_class(request: Request, seated: Seated | None, stays: Sequence[Stay], now: int) -> Request:
    """Return a request as it is of a guest: on the GPUs of their seats, and it ends with the class.

    Raises `ConflictError` where no class of theirs goes on, and in its last moments.
    """
    if not stays:
        return request
    on = [stay for stay in stays if stay.has(now)]
    if not on:
        raise _not_on(request, stays, now)
    ends = next((stay.ends for stay in on if seated is not None and stay.run == seated.run), on[0].ends)
    seconds = min(request.seconds, ends - now)
    if seconds < SHORTEST:
        raise ConflictError("class-ends", most_seconds=seconds)
    project = replace(request.project, member_cap=sum(stay.gpus for stay in on))
    return replace(request, seconds=seconds, project=project)


def _not_on(request: Request, stays: Sequence[Stay], now: int) -> ConflictError:
    name = request.project.name
    coming = min((stay for stay in stays if stay.starts > now), key=lambda stay: stay.starts, default=None)
    if coming is None:
        return ConflictError("class-over", project=name)
    opens = shown(coming.starts, coming.zone)
    return ConflictError("class-not-on", project=name, opens=opens, wait=coming.starts - now)


def _latest(stays: Sequence[Stay], now: int) -> int | None:
    """Return the run of a guest that began last, for what is judged after its end; None: they are no guest."""
    begun = [stay for stay in stays if stay.starts <= now]
    return max(begun, key=lambda stay: (stay.starts, stay.run)).run if begun else None


def _kin(ask: LeaseAsk, request: Request, lease: Lease) -> bool:
    """Tell whether a lease belongs to the same kernel as what is asked for, or to the same cluster."""
    if ask.parent:
        return ask.parent in {lease.id, lease.parent}
    same = (lease.user, lease.server, lease.label, lease.kind) == (request.user, request.server, ask.label, Kind.WORKER)
    return same and bool(ask.label) and not lease.parent


def _count_open(asked: Waiting, domains: Sequence[Domain], board: Board, now: int, *, nobody_ahead: bool) -> int:
    """Return how many such leases could start now: nobody waits before one that has GPUs kept for its project."""
    floor = asked.open_to(domains, now, board.kept)
    if nobody_ahead:
        return count_free(asked.gpus, asked.span, floor)
    own = asked.kept_for(now, board.kept)
    return count_free(asked.gpus, asked.span, only_cells(floor, [one.cells for one in own]))


def _reach(ask: LeaseAsk, domains: Sequence[Domain]) -> Sequence[Domain]:
    """Return the domains that what is asked for may be placed in."""
    return [domain for domain in domains if domain.name == ask.domain] if ask.pinned else domains
