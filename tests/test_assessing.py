"""Attempts from handing in to the certificate, on every database; the arena follows a script."""

from __future__ import annotations

import base64
import stat
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nvlhub.arena import Arena, ArenaError, Judgement, LocalArena, Mark, NotHeldError, Payer, Ran, ScriptedArena
from nvlhub.errors import BadInputError, ConflictError, FailedError, NotAllowedError, NotFoundError, NvlhubError
from nvlhub.flow.rubric import Rubric
from nvlhub.forms import AttemptView, NewAttempt, Trial
from nvlhub.portal.judging import Judges
from nvlhub.registry.assessing import Assessing
from nvlhub.snapshots import Snapshots
from nvlhub.store import Store
from nvlhub.store import tables as t
from nvlhub.visitor import Visitor
from tests.conftest import START, HandClock
from tests.portal_kit import RESEARCHER, Kit, kit

LEARNER, STRANGER = Visitor("learner"), Visitor("stranger")
RUBRIC: dict[str, Any] = {
    "files": ["solve.py", "extra/*.txt"], "largest": 1000, "attempts": 2, "pass_percent": 60,
    "outputs": [{"name": "labels.csv", "kind": "csv"}],
    "items": [
        {"name": "labels", "title": "Labels", "title_zh": "標籤", "weight": 2, "check": "match", "output": "labels.csv",
         "at": "y", "hidden": "truth.csv"},
        {"name": "quick", "check": "time", "max": 60},
    ],
    "hidden": {"truth.csv": base64.b64encode(b"y\nsecret-label\n").decode()},
}  # fmt: skip


def play(files: Mapping[str, bytes], rubric: Rubric) -> Judgement:
    """Do what the file that was handed in says."""
    match files["solve.py"].decode().split()[0]:
        case "good":
            return Judgement(
                Ran("done", 0, 1.0, "hello"),
                (Mark(1000, "mark-match"), Mark(1000, "mark-quick", {"seconds": "1", "most": "60"})),
                "secret-label",
            )
        case "bad":
            return Judgement(Ran("done", 0, 1.0, "\x1b[2Jhello\0"), (Mark(0, "mark-differs"), Mark(1000, "mark-match")))
        case "full":
            raise NotHeldError(ConflictError("attempt-no-room", gpus=2, wait=300))
        case "slow":
            return Judgement(Ran("time", -9, 120.0, ""), ())
        case _:
            raise ArenaError("no room")


@pytest.fixture
def portal(store: Store, clock: HandClock, tmp_path: Path) -> Kit:
    made = kit(store, clock)
    made.arena, made.snapshots = ScriptedArena(play), Snapshots(tmp_path / "attempts")
    made.restart()
    with store.writing() as unit:
        unit.add_course(
            ["researcher"], slug="lasers", project="demo", title="Lasers", profile="gpu1", assessment=RUBRIC,
            made_by="admin", made_at=START,
        )  # fmt: skip
        unit.add_run(
            ["Ant", "Bee"], course="lasers", name="Spring", zone="UTC", starts=START, ends=START + 3600, seats=2, gpus=1,
            warm=0, flex=0, grace=600, no_show=0, code="LASERS23", roster_only=False, state="approved", made_by="admin",
            made_at=START,
        )  # fmt: skip
        unit.take_seat(1, "learner", START, name="Learner")
    return made


def assessing(portal: Kit) -> Assessing:
    return portal.registry.assessing


def hand_in(portal: Kit, text: str = "good", who: Visitor = LEARNER, **more: str) -> tuple[AttemptView, bool]:
    files = {"solve.py": text, **{name.replace("__", "/") + ".txt": content for name, content in more.items()}}
    told = {name: base64.b64encode(content.encode()).decode() for name, content in files.items()}
    return assessing(portal).hand_in(who, NewAttempt(run=1, files=told), "en")


def work(portal: Kit) -> None:
    """Judge what waits, as the portal's threads do."""
    judges = Judges(assessing(portal), 0)
    judges._empty()


def judged(portal: Kit, text: str) -> AttemptView:
    view, _ = hand_in(portal, text)
    work(portal)
    return assessing(portal).attempt(LEARNER, int(view.id), "en")


def test_who_passes_has_a_certificate_at_once(portal: Kit) -> None:
    view, new = hand_in(portal)
    assert (view.state, view.number, new) == ("queued", 1, True)
    work(portal)
    view = assessing(portal).attempt(LEARNER, int(view.id), "en")
    assert (view.state, view.score_milli, view.log) == ("passed", 1000, "hello")
    assert portal.registry.certificates.certificate(view.certificate).verdict == "valid"
    assert view.grader
    assert view.grader in portal.registry.certificates.certificate(view.certificate).document


def test_who_does_not_pass_reads_why_and_nothing_hidden(portal: Kit) -> None:
    view = judged(portal, "bad")
    assert (view.state, view.score_milli, view.certificate) == ("failed", 333, "")
    assert [(item.share_milli, item.said) for item in view.items] == [
        (0, "Too much of it is not right."), (1000, "Enough of it is right."),
    ]  # fmt: skip
    assert "\x1b" not in view.log
    assert "\0" not in view.log
    assert assessing(portal).attempt(LEARNER, 1, "zh-TW").items[0].said == "不正確的部分太多。"


def test_learners_do_not_read_the_grader_s_log_and_teachers_do(portal: Kit) -> None:
    judged(portal, "good")
    assert "secret-label" not in assessing(portal).attempt(LEARNER, 1, "en").model_dump_json()
    [mine], total = assessing(portal).mine(LEARNER, "en", 1, 50)
    assert ("secret-label" in mine.model_dump_json(), total) == (False, 1)
    [seen], _ = assessing(portal).of_run(RESEARCHER, 1, "en", 1, 50)
    assert seen.grader_log == "secret-label"
    assert "secret-label" not in assessing(portal).asked(LEARNER, 1).model_dump_json()
    assert base64.b64encode(b"secret").decode()[:6] not in assessing(portal).asked(LEARNER, 1).model_dump_json()


def test_what_did_not_end_well_says_so_at_each_item(portal: Kit) -> None:
    view = judged(portal, "slow")
    assert (view.state, view.score_milli) == ("failed", 0)
    assert {item.said for item in view.items} == {
        "Your program took longer than 120 s and was ended, so nothing of it was judged."
    }


def test_the_same_files_are_the_same_attempt(portal: Kit) -> None:
    first, _ = hand_in(portal, extra__b="b", extra__a="a")
    again, new = hand_in(portal, extra__a="a", extra__b="b")
    assert (again.id, new) == (first.id, False)
    work(portal)
    assert hand_in(portal, extra__a="a", extra__b="b")[0].state == "passed"


def test_attempts_are_counted_and_one_at_a_time(portal: Kit) -> None:
    hand_in(portal, "bad 1")
    with pytest.raises(ConflictError, match="attempt-waits"):
        hand_in(portal, "bad 2")
    work(portal)
    judged(portal, "bad 2")
    assert assessing(portal).asked(LEARNER, 1).left == 0
    with pytest.raises(ConflictError, match="attempts-used"):
        hand_in(portal, "good")


def test_attempts_that_our_side_broke_do_not_count_unless_there_are_many(portal: Kit) -> None:
    assert judged(portal, "broken").state == "broken"
    assert assessing(portal).asked(LEARNER, 1).left == 2
    for _ in range(4):
        judged(portal, "broken")
    with pytest.raises(ConflictError, match="attempts-used"):
        hand_in(portal, "broken")


def test_an_attempt_that_got_no_gpus_never_counts_and_says_why(portal: Kit) -> None:
    for _ in range(5):
        view = judged(portal, "full")
        assert (view.state, view.score_milli, view.items) == ("broken", None, [])
        assert "costs you no attempt" in view.said
        assert "no room for it (GPUs: 2) within 5 min" in view.said
    assert view.number == 5
    assert "2 個 GPU" in assessing(portal).attempt(LEARNER, 5, "zh-TW").said
    assert assessing(portal).asked(LEARNER, 1).left == 2
    assert assessing(portal).attempt(RESEARCHER, 5, "en").grader_log.startswith("No lease: attempt-no-room")
    assert judged(portal, "good").state == "passed"
    trial = Trial(files={"solve.py": base64.b64encode(b"full").decode()})
    with pytest.raises(ConflictError, match="attempt-no-room"):
        assessing(portal).try_out(RESEARCHER, "lasers", trial, "en")


def test_who_pays_for_an_attempt_is_its_learner_by_the_course_and_the_seat(portal: Kit) -> None:
    asked: list[Payer | None] = []
    cleared: list[tuple[str, str]] = []

    class Told(ScriptedArena):
        def judge(self, files: Mapping[str, bytes], rubric: Rubric, payer: Payer | None = None) -> Judgement:
            asked.append(payer)
            return replace(super().judge(files, rubric, payer), lease="l1")

        def clear(self, user: str, key: str) -> None:
            cleared.append((user, key))

    assessing(portal).arena = Told(play)
    hand_in(portal)
    assert assessing(portal).next() is not None
    # The portal ends here; the next one ends what the attempt held, and begins it anew.
    assessing(portal).resume()
    assert cleared == [("learner", "attempt-1-1")]
    work(portal)
    assert asked == [Payer("learner", "demo", "gpu1", 1, "attempt-1-2")]
    with portal.store.reading() as unit:
        assert unit.attempt(1)["lease"] == "l1"


def test_a_lease_is_found_by_what_it_was_asked_for_with_and_ended_once(portal: Kit) -> None:
    lease = portal.ask()
    for user, key in (("researcher", "nobody's"), ("learner", "key-1")):
        portal.desk.drop(user, key)
    portal.step()
    assert portal.seen(lease).state == "running"
    for _ in range(2):
        portal.desk.drop("researcher", "key-1")
        portal.step()
        portal.step()
    assert (portal.seen(lease).state, portal.seen(lease).end_reason) == ("settled", "user")
    assert portal.broken() == []


@pytest.mark.parametrize(
    ("at", "slug"),
    [(-1, "attempt-early"), (0, ""), (3599, ""), (4199, ""), (4200, "attempt-late")],
)
def test_a_run_takes_in_while_it_is_live_and_in_its_grace(portal: Kit, clock: HandClock, at: int, slug: str) -> None:
    clock.at = START + at
    assert assessing(portal).asked(LEARNER, 1).open == (not slug)
    if slug:
        with pytest.raises(ConflictError, match=slug):
            hand_in(portal)
    else:
        assert hand_in(portal)[1]


def test_a_seat_s_extra_time_counts(portal: Kit, clock: HandClock) -> None:
    clock.at = START + 4300
    with portal.store.writing() as unit:
        unit.change_seat(1, 1, extra=600)
    assert hand_in(portal)[1]


def test_a_closed_run_takes_nothing_in(portal: Kit) -> None:
    with portal.store.writing() as unit:
        unit.change_run(1, state="closed")
    with pytest.raises(ConflictError, match="attempt-shut"):
        hand_in(portal)


def test_only_who_has_a_seat_hands_in_and_only_their_own_is_theirs(portal: Kit) -> None:
    with pytest.raises(NotAllowedError, match="attempt-no-seat"):
        hand_in(portal, who=RESEARCHER)
    with pytest.raises(NotFoundError, match="run-unknown"):
        hand_in(portal, who=STRANGER)
    hand_in(portal)
    with portal.store.writing() as unit:
        unit.take_seat(1, "stranger", START)
    with pytest.raises(NotFoundError, match="attempt-unknown"):
        assessing(portal).attempt(STRANGER, 1, "en")
    assert assessing(portal).mine(STRANGER, "en", 1, 50) == ([], 0)


@pytest.mark.parametrize(
    ("files", "slug"),
    [
        ({"other.py": "eA=="}, "attempt-unasked"),
        ({"solve.py": "eA"}, "attempt-unreadable"),
        ({"solve.py": "A" * 2000}, "attempt-large"),
        ({"extra/a.txt": "eA=="}, "attempt-lacks"),
    ],
)
def test_what_is_not_asked_for_is_not_taken(portal: Kit, files: dict[str, str], slug: str) -> None:
    with pytest.raises(BadInputError, match=slug):
        assessing(portal).hand_in(LEARNER, NewAttempt(run=1, files=files), "en")
    assert assessing(portal).mine(LEARNER, "en", 1, 50) == ([], 0)
    assert portal.snapshots.directory is not None
    assert not portal.snapshots.directory.exists()


@pytest.mark.parametrize("name", ["../solve.py", "/etc/passwd", "extra/../../x.txt", ".ssh/x", "a//b", "a\0b", "a\\b"])
def test_paths_that_lead_elsewhere_have_no_word(name: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        NewAttempt(run=1, files={name: "eA=="})


def test_a_course_without_assessment_or_with_a_wrong_one_says_so(portal: Kit) -> None:
    for told, slug in (({}, "assessment-none"), ({"files": []}, "rubric-invalid")):
        with portal.store.writing() as unit:
            unit.change_course("lasers", assessment=told)
        with pytest.raises(NvlhubError, match=slug):
            hand_in(portal)


@pytest.mark.parametrize("arena", [None, ScriptedArena(lacks="no namespaces")])
def test_where_nothing_can_be_isolated_nothing_is_taken(portal: Kit, arena: Arena | None) -> None:
    assessing(portal).arena = arena
    with pytest.raises(FailedError, match="assessment-off"):
        hand_in(portal)
    with pytest.raises(FailedError, match="assessment-off"):
        assessing(portal).try_out(RESEARCHER, "lasers", Trial(files={"solve.py": "eA=="}), "en")


def test_snapshots_are_for_the_portal_s_account_alone(portal: Kit) -> None:
    view, _ = hand_in(portal)
    directory = portal.snapshots.directory
    assert directory is not None
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / view.snapshot).stat().st_mode) == 0o600
    assert [file.name for file in directory.iterdir()] == [view.snapshot]


def test_a_snapshot_that_is_gone_or_changed_breaks_its_attempt_alone(portal: Kit) -> None:
    view, _ = hand_in(portal)
    assert portal.snapshots.directory is not None
    (portal.snapshots.directory / view.snapshot).write_bytes(b"another")
    work(portal)
    assert assessing(portal).attempt(LEARNER, int(view.id), "en").state == "broken"
    assert judged(portal, "good again").state == "passed"


def test_what_a_portal_s_end_cut_short_is_begun_once_more(portal: Kit) -> None:
    hand_in(portal)
    assert assessing(portal).next() is not None
    portal.restart()
    assessing(portal).resume()
    assert assessing(portal).attempt(LEARNER, 1, "en").state == "queued"
    job = assessing(portal).next()
    assert job is not None
    portal.restart()
    assessing(portal).resume()
    assert assessing(portal).attempt(LEARNER, 1, "en").state == "broken"
    # Who was believed dead and comes back changes nothing any more.
    assessing(portal).judged(job, play(job.files, job.rubric))
    assert assessing(portal).attempt(LEARNER, 1, "en").state == "broken"


def test_each_attempt_is_taken_once_however_many_judge(portal: Kit) -> None:
    for name in ("a", "b"):
        with portal.store.writing() as unit:
            unit.connection.execute(
                t.attempts.insert().values(run=1, seat=1, number=1, user=name, at=START, state="queued", snapshot="x")
            )
    with portal.store.writing() as unit:
        taken = [unit.take_attempt() for _ in range(3)]
    assert [row and (row["user"], row["starts"]) for row in taken] == [("a", 1), ("b", 1), None]


def test_a_rubric_that_changes_meanwhile_is_the_one_that_stands_on_the_certificate(portal: Kit) -> None:
    view, _ = hand_in(portal)
    with portal.store.writing() as unit:
        unit.change_course("lasers", assessment={**RUBRIC, "pass_percent": 61})
    work(portal)
    assert assessing(portal).attempt(LEARNER, 1, "en").grader != view.grader


def test_a_trial_leaves_no_trace(portal: Kit) -> None:
    told = assessing(portal).try_out(
        RESEARCHER, "lasers", Trial(files={"solve.py": base64.b64encode(b"good").decode()}), "en"
    )
    assert (told.id, told.state, told.grader_log, told.certificate) == ("", "passed", "secret-label", "")
    assert assessing(portal).of_run(RESEARCHER, 1, "en", 1, 50) == ([], 0)
    broken = assessing(portal).try_out(
        RESEARCHER, "lasers", Trial(files={"solve.py": base64.b64encode(b"x").decode()}), "en"
    )
    assert (broken.state, broken.grader_log) == ("broken", "no room")
    for who in (LEARNER, STRANGER):
        with pytest.raises(NotFoundError, match="course-unknown"):
            assessing(portal).try_out(who, "lasers", Trial(files={"solve.py": "eA=="}), "en")


def test_the_threads_judge_what_is_handed_in(portal: Kit, tmp_path: Path) -> None:
    over = threading.Event()

    class Told(ScriptedArena):
        def judge(self, files: Mapping[str, bytes], rubric: Rubric, payer: Payer | None = None) -> Judgement:
            over.set()
            return super().judge(files, rubric, payer)

    assessing(portal).arena = Told(play)
    judges = Judges(assessing(portal), 2)
    judges.start()
    try:
        hand_in(portal)
        assert over.wait(60)
    finally:
        judges.stop()
    assert assessing(portal).attempt(LEARNER, 1, "en").state == "passed"


def test_a_real_attempt_passes_and_a_forged_one_does_not(portal: Kit, tmp_path: Path) -> None:
    arena = LocalArena(tmp_path / "arena")
    if arena.lacks():
        pytest.skip(arena.lacks())
    assessing(portal).arena = arena
    forged = "import builtins; builtins.abs = lambda x: 0\nopen('labels.csv', 'w').write('y\\nEqual()\\n')"
    assert judged(portal, forged).items[0].share_milli == 0
    assert judged(portal, "open('labels.csv', 'w').write('y\\nsecret-label\\n')").state == "passed"
