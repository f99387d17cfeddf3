"""The local engine's accounting: what a crash, a full disk and the years leave of it."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from nvlhub.engines import accounting
from nvlhub.engines.accounting import Accounting
from nvlhub.flow.reconciliation import Record


def test_a_line_cut_off_anywhere_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "accounting.jsonl"
    whole = Accounting(file)
    whole.began("first", 1, time.time())
    whole.ended("first")
    kept = list(whole.records(0))
    before = file.stat().st_size
    whole.began("second", 4, time.time())
    full = file.read_bytes()
    for length in range(before, len(full) + 1):
        file.write_bytes(full[:length])
        after_crash = Accounting(file)
        survived = length == len(full)
        assert after_crash.running == ({"second"} if survived else set())
        after_crash.began("third", 2, time.time())
        told = {record.lease_id: record for record in after_crash.records(0)}
        assert [told.pop("first")] == kept
        assert told.pop("third").ended_at is None
        assert set(told) == ({"second"} if survived else set())


def test_an_end_that_was_cut_off_is_noticed_again(tmp_path: Path) -> None:
    file = tmp_path / "accounting.jsonl"
    whole = Accounting(file)
    whole.began("lease", 1, time.time())
    before = file.stat().st_size
    whole.ended("lease")
    full = file.read_bytes()
    for length in range(before, len(full)):
        file.write_bytes(full[:length])
        after_crash = Accounting(file)
        assert after_crash.running == {"lease"}
        after_crash.ended("lease")
        [record] = after_crash.records(0)
        assert record.ended_at is not None


def test_a_run_begins_when_its_process_was_created_and_once(tmp_path: Path) -> None:
    kept = Accounting(tmp_path / "accounting.jsonl")
    kept.began("lease", 1, time.time() - 100)
    kept.began("lease", 1, time.time())
    kept.ended("lease")
    kept.ended("lease")
    [record] = kept.records(0)
    assert record.ended_at is not None
    assert 100 <= record.ended_at - record.started_at <= 101


def test_a_date_set_back_makes_no_run_end_before_it_began(tmp_path: Path) -> None:
    file = tmp_path / "accounting.jsonl"
    ahead = int(time.time()) + 10**6
    file.write_text(f'\n{{"lease_id": "lease", "gpus": 1, "started_at": {ahead}, "ended_at": null}}')
    kept = Accounting(file)
    kept.ended("lease")
    [record] = kept.records(0)
    assert record.ended_at in {ahead, ahead + 1}


def test_the_file_stays_small_and_keeps_what_runs_and_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounting, "LINES", 20)
    file = tmp_path / "accounting.jsonl"
    kept = Accounting(file)
    kept.began("runs", 1, time.time())
    for number in range(100):
        kept.began(f"lease{number}", 1, time.time())
        kept.ended(f"lease{number}")
        assert len(file.read_bytes().split(b"\n")) <= 21
    told = [record.lease_id for record in kept.records(0)]
    assert told[-2:] == ["lease99", "runs"]
    assert Accounting(file).running == {"runs"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_keeps_no_task_from_running_and_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Accounting(tmp_path / "accounting.jsonl")

    def full(*_what: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        kept.began("lease", 1, time.time())
        patch.setattr(os, "write", lambda file, line: 3)
        kept.began("lease", 1, time.time())
    assert "could not be written: [Errno 28]" in caplog.text
    assert kept.running == set()
    kept.began("lease", 1, time.time())
    assert [record.lease_id for record in kept.records(0)] == ["lease"]


def test_it_can_be_read_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "LINES", 50)
    kept = Accounting(tmp_path / "accounting.jsonl")
    kept.began("runs", 1, time.time())
    read: list[Record] = []
    done = threading.Event()

    def reader() -> None:
        while not done.is_set():
            read.extend(record for record in kept.records(0) if record.lease_id == "runs")
            assert read[-1].ended_at is None

    thread = threading.Thread(target=reader)
    thread.start()
    for number in range(300):
        kept.began(f"lease{number}", 1, time.time())
        kept.ended(f"lease{number}")
    done.set()
    thread.join()
    assert read
