"""Use cases of profiles: draft, check, publish, roll back, compare. Who may is checked here.

version n (published) ──► draft n+1 ──► test start ──► publish ──► roll back: n is published again
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from nvlhub.errors import BadInputError, ConflictError, NotFoundError, NvlhubError, RefusedError
from nvlhub.exchange.profile_file import Draft, read_fields, read_yaml
from nvlhub.explain import sentence
from nvlhub.flow.placement import count_free, fits_ever
from nvlhub.flow.request import Audience, Pool, Profile, Project, charge_factor, check_environment, check_gpus
from nvlhub.flow.revision import changes
from nvlhub.forms import (
    DraftCheck,
    DraftFault,
    DraftPrice,
    DraftView,
    FieldChange,
    NewProfile,
    ProfileDiff,
    ProfileHistory,
    ProfileView,
    Publish,
    Rollback,
    VersionStats,
)
from nvlhub.registry.office import ChangedError, Office, Standing, check_match, etag
from nvlhub.store import Unit
from nvlhub.store.profiles import Edition, Starts
from nvlhub.visitor import Visitor

MOST = 10_000
"""Programmes and projects that are looked through for who may start a draft."""
FIELDS = {"programme-unknown": "audience.programmes", "project-unknown": "audience.projects", "pool-unknown": "pool"}
"""The field that an error is about, where its members do not say so."""


class Profiles(Office):
    """Which shapes can be started, by whom, with what."""

    # --- looking ------------------------------------------------------------------------------------------------

    def profiles(self, visitor: Visitor) -> list[ProfileView]:
        """Return the published profiles that are the visitor's to see; to an administrator every version."""
        with self._store.reading() as unit:
            editions, standing = unit.editions(), self._standing(unit, visitor)
        return [_view(one, standing) for one in editions if _sees(standing, one)]

    def history(self, visitor: Visitor, name: str) -> tuple[ProfileHistory, str]:
        """Return the versions of a profile that are the visitor's to see, and the newest one's entity tag.

        Raises `NotFoundError`.
        """
        with self._store.reading() as unit:
            standing = self._standing(unit, visitor)
            found = [one for one in unit.editions(name) if _sees(standing, one)]
        if not found:
            raise NotFoundError("profile-unknown", profile=name)
        published = next((one.profile.version for one in found if one.published), None)
        before = _before(found)
        shown = ProfileHistory(
            name=name, published=published, rollback=before.profile.version if before else None,
            versions=[_view(one, standing) for one in reversed(found)],
        )  # fmt: skip
        return shown, etag(_told(found[-1].profile))

    def diff(self, visitor: Visitor, name: str, a: int, b: int) -> ProfileDiff:
        """Return what is different between two versions. Raises `NotFoundError`."""
        self._need_admin(visitor)
        with self._store.reading() as unit:
            before, after = unit.profile(name, a), unit.profile(name, b)
        return ProfileDiff(name=name, a=a, b=b, changes=_changes(_content(before), _content(after)))

    def stats(self, visitor: Visitor, name: str | None = None) -> list[VersionStats]:
        """Return how the starts of every version of a profile went, or of all profiles. Raises `NotFoundError`."""
        self._need_admin(visitor)
        with self._store.reading() as unit:
            if name is not None and not unit.editions(name):
                raise NotFoundError("profile-unknown", profile=name)
            found = unit.starts(name)
        return [_stats(one) for one in found]

    # --- changing -----------------------------------------------------------------------------------------------

    def add_profile(self, visitor: Visitor, new: NewProfile, match: str = "") -> tuple[ProfileView, str]:
        """Add the next version of a profile, a draft; return it and its entity tag.

        Raises `BadInputError` for a shape that the pool does not have, `UnreadError` and `ChangedError` as
        :func:`check_match` does, the latter with what somebody else has changed.
        """
        self._need_admin(visitor)
        with self._store.writing() as unit:
            editions = unit.editions(new.name, alone=True)
            if editions:
                self._check_newest(editions, new, match)
            profile = replace(meant(new), made_by=visitor.name, made_at=self._clock.now())
            self.check_profile(unit, profile)
            profile = replace(profile, version=unit.add_profile(profile))
            made = _view(Edition(profile, published=False, publication=None))
            self._noted(unit, visitor, "profile-add", made)
        return made, etag(_told(profile))

    def _check_newest(self, editions: Sequence[Edition], new: NewProfile, match: str) -> None:
        newest = editions[-1].profile
        try:
            check_match(_told(newest), match)
        except ChangedError:
            # Where nobody can tell what it was made from, what was sent is compared instead.
            base = next((one.profile for one in editions if etag(_told(one.profile)) == match.strip()), None)
            diff = _changes(_content(base or meant(new)), _content(newest))
            raise ChangedError(
                "profile-stale", profile=newest.name, version=newest.version, base=base.version if base else None,
                made_by=newest.made_by, current=etag(_told(newest)), diff=[one.model_dump(mode="json") for one in diff],
            ) from None  # fmt: skip

    def publish(self, visitor: Visitor, name: str, publish: Publish) -> ProfileView:
        """Publish a version. Raises `ConflictError` for one that can never be placed, `NotFoundError` for none."""
        self._need_admin(visitor)
        with self._store.writing() as unit:
            return self._publish(unit, visitor, name, publish.version, "profile-publish")

    def roll_back(self, visitor: Visitor, name: str, back: Rollback) -> ProfileView:
        """Publish the version that was published before; done once, however often it is sent.

        Raises `ConflictError` where none was, or where another version is published than the visitor says.
        """
        self._need_admin(visitor)
        with self._store.writing() as unit:
            editions = unit.editions(name, alone=True)
            if not editions:
                raise NotFoundError("profile-unknown", profile=name)
            now = next((one.profile.version for one in editions if one.published), None)
            if now != back.published:
                raise ConflictError("profile-published-other", profile=name, version=now, given=back.published)
            before = _before(editions)
            if before is None:
                raise ConflictError("profile-no-earlier", profile=name)
            return self._publish(unit, visitor, name, before.profile.version, "profile-rollback")

    def _publish(self, unit: Unit, visitor: Visitor, name: str, version: int, action: str) -> ProfileView:
        unit.publish(name, version)
        [edition] = [one for one in unit.editions(name) if one.published]
        self.check_startable(edition.profile)
        made = _view(edition)
        self._noted(unit, visitor, action, made)
        return made

    def check_startable(self, profile: Profile) -> None:
        """Raise `ConflictError` for a profile that can never be placed here."""
        if profile.pool != self._desk.pool:
            raise ConflictError("pool-not-here", pool=profile.pool)
        if not fits_ever(profile.gpus, profile.span, self._desk.board.capacity):
            raise ConflictError("never-fits", profile=profile.display_name, gpus=profile.gpus)

    def check_profile(self, unit: Unit, profile: Profile) -> None:
        """Raise the first of what is wrong with a profile."""
        for error in self._wrong(unit, profile):
            raise error

    def _noted(self, unit: Unit, visitor: Visitor, action: str, profile: ProfileView) -> None:
        unit.note(
            action, f"profile:{profile.name}", at=self._clock.now(), actor=visitor.name,
            after=profile.model_dump(mode="json"),
        )  # fmt: skip

    # --- a draft as it is typed -----------------------------------------------------------------------------------

    def check(self, visitor: Visitor, typed: DraftCheck, lang: str) -> DraftView:
        """Return what a draft means and costs, or what is wrong with it, field by field. Stores nothing.

        Raises `BadInputError` for none or two drafts.
        """
        self._need_admin(visitor)
        if (typed.fields is None) == (typed.yaml is None):
            raise BadInputError("profile-one-draft", field="yaml")
        draft = read_yaml(typed.yaml) if typed.yaml is not None else read_fields(typed.fields or {})
        with self._store.reading() as unit:
            return self._checked(unit, draft, lang)

    def _checked(self, unit: Unit, draft: Draft, lang: str) -> DraftView:
        faults = [(wrong.field, wrong.error) for wrong in draft.faults]
        known: dict[str, Any] = {}
        if draft.profile is not None:
            profile = meant(draft.profile)
            faults += [(_field(error), error) for error in self._wrong(unit, profile)]
            known = self._newest(unit, draft, profile)
            if not faults:
                known |= self._priced(unit, profile, lang)
        nothing: dict[str, Any] = {
            "newest": None,
            "tag": "",
            "changes": [],
            "price_milli": None,
            "prices": [],
            "free_now": None,
            "unready": "",
        }
        return DraftView(
            ok=not faults, errors=[DraftFault(field=field, detail=self._said(error, lang)) for field, error in faults],
            fields=draft.fields, yaml=draft.yaml, profile=None if faults else draft.profile, base=draft.base,
            **{**nothing, **known},
        )  # fmt: skip

    def _said(self, error: NvlhubError, lang: str) -> str:
        return sentence(error.slug, lang, **error.members, more=self._desk.more_url)

    def _wrong(self, unit: Unit, profile: Profile) -> list[NvlhubError]:
        """Return what is wrong with a profile beside its shape as a form."""
        found: list[NvlhubError] = []
        checks: list[Callable[[], object]] = [
            lambda: check_gpus(profile.gpus, profile.span, unit.pool(profile.pool)),
            lambda: check_environment(profile.environment),
            *(partial(unit.programme, slug) for slug in profile.audience.programmes),
            *(partial(unit.project, slug) for slug in profile.audience.projects),
        ]
        for check in checks:
            try:
                check()
            except (BadInputError, RefusedError) as error:
                found.append(error)
        return found

    def _newest(self, unit: Unit, draft: Draft, profile: Profile) -> dict[str, Any]:
        editions = unit.editions(profile.name)
        if not editions:
            return {"changes": _changes({}, _content(profile))}
        newest = editions[-1].profile
        base = next((one.profile for one in editions if one.profile.version == draft.base), None)
        # A base that is not here any more, or never was, matches nothing: what is here is shown before it is changed.
        tag = etag(_told(base or newest)) if base or draft.base is None else etag({"base": draft.base})
        return {
            "newest": newest.version, "tag": tag, "changes": _changes(_content(newest), _content(profile)),
        }  # fmt: skip

    def _priced(self, unit: Unit, profile: Profile, lang: str) -> dict[str, Any]:
        pool = unit.pool(profile.pool)
        projects, _ = unit.projects(per_page=MOST)
        may = Counter(row.programme for row in projects if profile.audience.has(row.slug, row.programme))
        programmes, _ = unit.programmes(per_page=MOST)
        prices = [
            DraftPrice(
                programme=row["slug"], projects=may[row["slug"]],
                price_milli=profile.gpus * charge_factor(pool, Project("", "", row["slug"], factor_milli=row["factor_milli"])),
            )
            for row in programmes
            if may[row["slug"]]
        ]  # fmt: skip
        return {
            "price_milli": profile.gpus * pool.factor_milli, "prices": prices, "free_now": self._free(profile, pool),
            "unready": self._unready(profile, lang),
        }  # fmt: skip

    def _free(self, profile: Profile, pool: Pool) -> int:
        board = self._desk.board
        return count_free(profile.gpus, profile.span, board.domains) if pool.name == self._desk.pool else 0

    def _unready(self, profile: Profile, lang: str) -> str:
        try:
            self.check_startable(profile)
        except ConflictError as error:
            return self._said(error, lang)
        return ""


def meant(new: NewProfile) -> Profile:
    """Return the profile that a form stands for; it has no version yet."""
    told = new.model_dump()
    return Profile(version=0, **{**told, "span": new.span, "audience": Audience(**told["audience"])})


def _content(profile: Profile) -> dict[str, Any]:
    """Return what people decide about a version: all but who made it when."""
    told = asdict(profile) | {"span": profile.span.value}
    return {name: value for name, value in told.items() if name not in {"name", "version", "made_by", "made_at"}}


def _told(profile: Profile) -> dict[str, Any]:
    """Return what the entity tag of a version is made of: nothing that publishing changes."""
    return {**_content(profile), "name": profile.name, "version": profile.version}


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[FieldChange]:
    return [FieldChange(**asdict(one)) for one in changes(before, after)]


def _before(editions: Sequence[Edition]) -> Edition | None:
    """Return the version that was published before the one that is now."""
    earlier = [one for one in editions if one.publication is not None and not one.published]
    return max(earlier, key=lambda one: one.publication or 0, default=None)


def _sees(standing: Standing, edition: Edition) -> bool:
    """Tell whether a version is somebody's to see: administrators see all, others what they could start."""
    if standing.admin:
        return True
    audience = edition.profile.audience
    return edition.published and (
        any(audience.has(project, programme) for project, (_, programme) in standing.projects.items())
        or any(audience.has("", programme) for programme in standing.officer_of)
        or audience == Audience()
    )


def _view(edition: Edition, standing: Standing | None = None) -> ProfileView:
    """Return a version as somebody sees it; without a standing: as an administrator does."""
    profile = edition.profile
    told = asdict(profile)
    if standing is not None and not standing.admin:
        # Whose projects the others are is not everybody's to know.
        mine = {programme for _, programme in standing.projects.values()} | standing.officer_of
        told |= {
            "hints": {}, "note": "", "made_by": "",
            "audience": {
                "programmes": [slug for slug in profile.audience.programmes if slug in mine],
                "projects": [slug for slug in profile.audience.projects if slug in standing.projects],
            },
        }  # fmt: skip
    return ProfileView(**told, published=edition.published)


def _stats(found: Starts) -> VersionStats:
    return VersionStats(
        name=found.name, version=found.version, starts=found.starts, failures=found.failures, running=found.running,
        median=_quantile(found.times, 0.5), p95=_quantile(found.times, 0.95),
    )  # fmt: skip


def _quantile(times: Sequence[tuple[int, int]], part: float) -> int | None:
    """Return the value that `part` of all lie at or below; `times`: values in order, and how many there are of each."""
    needed = math.ceil(part * sum(count for _, count in times))
    passed = 0
    for value, count in times:
        passed += count
        if passed >= needed:
            return value
    return None


def _field(error: NvlhubError) -> str:
    return str(error.members.get("field") or FIELDS.get(error.slug, ""))
