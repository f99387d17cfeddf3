"""Routes of profiles."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from nvlhub.api.document import TAGGED, TAGGED_NEW
from nvlhub.api.doors import Here, Lang, Match, Page, PerPage, Who, sliced, tagged
from nvlhub.forms import (
    DraftCheck,
    DraftView,
    Listed,
    NewProfile,
    ProfileDiff,
    ProfileHistory,
    ProfileView,
    Publish,
    Rollback,
    VersionStats,
)
from nvlhub.wire import Slug

router = APIRouter()
Version = Annotated[int, Query(ge=1, le=2**31 - 1)]


@router.get("/profiles")
def profiles(here: Here, who: Who, page: Page = 1, per_page: PerPage = 200) -> Listed[ProfileView]:
    """List the published profiles that the visitor may start; to administrators every version of all."""
    return sliced(here.registry.profiles.profiles(who), page, per_page)


@router.post("/profiles", status_code=201, responses=TAGGED_NEW)
def add_profile(
    here: Here, who: Who, body: NewProfile, response: Response, if_match: Match = ""
) -> ProfileView:  # fmt: skip
    """Add the next version of a profile; If-Match, the entity tag of the newest one, is needed where there is one."""
    return tagged(response, here.registry.profiles.add_profile(who, body, if_match))


@router.post("/profiles/check")
def check(here: Here, who: Who, lang: Lang, body: DraftCheck) -> DraftView:
    """Tell what a draft means and costs, or what is wrong with it. Nothing is stored."""
    return here.registry.profiles.check(who, body, lang)


@router.get("/profiles/{name}", responses=TAGGED)
def profile(here: Here, who: Who, name: Slug, response: Response) -> ProfileHistory:
    """Return all versions of a profile, with the entity tag that the next one needs."""
    return tagged(response, here.registry.profiles.history(who, name))


@router.get("/profiles/{name}/diff")
def diff(here: Here, who: Who, name: Slug, a: Version, b: Version) -> ProfileDiff:
    """Tell what is different between two versions."""
    return here.registry.profiles.diff(who, name, a, b)


@router.get("/profiles/{name}/stats")
def stats(here: Here, who: Who, name: Slug, page: Page = 1, per_page: PerPage = 200) -> Listed[VersionStats]:
    """Tell how the starts of every version went."""
    return sliced(here.registry.profiles.stats(who, name), page, per_page)


@router.get("/profile-stats")
def all_stats(here: Here, who: Who, page: Page = 1, per_page: PerPage = 200) -> Listed[VersionStats]:
    """Tell how the starts of every version of all profiles went; versions that nobody started are left out."""
    return sliced(here.registry.profiles.stats(who), page, per_page)


@router.post("/profiles/{name}/publish")
def publish(here: Here, who: Who, name: Slug, body: Publish) -> ProfileView:
    """Publish a version of a profile."""
    return here.registry.profiles.publish(who, name, body)


@router.post("/profiles/{name}/rollback")
def rollback(here: Here, who: Who, name: Slug, body: Rollback) -> ProfileView:
    """Publish the version that was published before."""
    return here.registry.profiles.roll_back(who, name, body)
