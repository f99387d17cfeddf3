"""What Slurm's commands print, as recorded, and what it means."""

from __future__ import annotations

import pytest

from nvlhub.engines.slurm import reading
from nvlhub.engines.slurm.reading import Past, Queued

LEASE = "fc67c646-d62b-420b-91b7-2c4b300b89c7"
BEGAN = 1_795_980_788
"""2026-11-29T19:33:08 UTC."""
MARK = "|3f9c|"
QUEUE = f"""\
1|RUNNING|root|gpu|2026-11-29T19:33:08|2026-11-29T20:35:08|2026-11-29T19:33:07|3:01|nvl001-[03-04]|2|gres:gpu:gb300:2|None|one|nvlhub:main:{LEASE}|
2|PENDING|alice|gpu|N/A|N/A|2026-11-29T19:33:07|0:00||1|gres/gpu:4|Resources|a
b|(null)|
3|PENDING|alice|gpu|2026-11-29T21:00:00|2026-11-29T22:00:00|2026-11-29T19:33:07|0:00||1|N/A|ReqNodeNotAvail, May be reserved for other job|c|nvlhub:other:{LEASE}|
4|COMPLETED|bob|gpu|2026-11-28T19:33:08|2026-11-29T20:35:08|2026-11-28T19:33:07|1-01:02:00|nvl001-[03-04]|2|N/A|None|d|a !3f9d! b|
5_[1-9]|PENDING|bob|gpu|N/A|N/A|2026-11-28T19:33:07|0:00||1|N/A|Priority|e|nvlhub:main:2-{LEASE}|
6|PENDING|bob|gpu|N/A|N/A|2026-11-28T19:33:07|0:00||1|N/A|Priority|e|nvlhub:main:2-{LEASE}|
slurm_load_jobs error: something new
""".replace("|", MARK).replace("!", "|")
FORGED = f"""\
7|RUNNING|bob|gpu|N/A|N/A|2026-11-28T19:33:07|0:00|nvl001-03|1|N/A|None|x
1!COMPLETED!root!2026-11-29T19:33:08!2026-11-29T19:33:09!2026-11-29T19:33:07!0:01!nvl001-03!1!gres:gpu:1!None!x!nvlhub:main:{LEASE}!|\u2028y|
8|RUNNING|cut off""".replace("|", MARK).replace("!", "|")
JOB = (
    f"JobId=1 JobName=nvlhub-main-{LEASE} UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=1 Nice=0 Account=root QOS=normal "
    "JobState=RUNNING Reason=None Dependency=(null) Requeue=0 Restarts=0 BatchFlag=1 Reboot=0 ExitCode=0:0 DerivedExitCode=0:0 "
    "RunTime=00:05:01 TimeLimit=01:02:00 TimeMin=N/A SubmitTime=2026-11-29T19:33:07 StartTime=2026-11-29T19:33:08 "
    "EndTime=2026-11-29T20:35:08 Deadline=N/A ReqNodeList=(null) ExcNodeList=(null) NodeList=nvl001-[03-05] NumNodes=3 "
    "TRES=cpu=16,mem=16000M,node=3,billing=16,gres/gpu=7 JOB_GRES=gpu:gb300:7 "
    "  Nodes=nvl001-[03-04] CPU_IDs=0-7,72-79 Mem=16000 GRES=gpu:gb300:3(IDX:0-1,3) "
    "  Nodes=nvl001-05 CPU_IDs=0-7 Mem=16000 GRES=gpu:gb300:1(IDX:2) "
    f"MinCPUsNode=1 Comment=nvlhub:main:{LEASE}  WorkDir=/home/a b StdErr=/dev/null TresPerNode=gres:gpu:2"
)
NODES = """\
NodeName=nvl001-01 Arch=x86_64 CoresPerSocket=72 CPUAlloc=0 CPUTot=144 AvailableFeatures=gb300,nvl001 ActiveFeatures=gb300,nvl001 Gres=gpu:gb300:4 NodeAddr=10.0.0.7 NodeHostName=h Port=16830 State=IDLE ThreadsPerCore=1
NodeName=nvl001-02 Gres=gpu:gb300:4(S:0-1) NodeAddr=10.0.0.8 State=MIXED+DRAIN Reason=bad nvlink [root@2026-11-29T19:33:08]
NodeName=nvl001-03 Gres=gpu:4,nic:2 State=DOWN* AvailableFeatures=nvl001
NodeName=cpu001 Gres=(null) State=IDLE+CLOUD
"""
TREE = """\
SwitchName=nvl001 Level=0 LinkSpeed=1 Nodes=nvl001-[01-18]
SwitchName=nvl002 Level=0 LinkSpeed=1 Nodes=nvl002-[01-18]
SwitchName=spine Level=1 LinkSpeed=1 Nodes=nvl001-[01-18],nvl002-[01-18] Switches=nvl[001-002]
"""
BLOCKS = """\
BlockName=nvl001 BlockIndex=0 Nodes=nvl001-[01-18] BlockSize=18
BlockName=nvl002 BlockIndex=1 Nodes=nvl002-[01-18] BlockSize=18
AggregatedBlock=nvl[001-002] BlockIndex=2 Nodes=nvl[001-002]-[01-18] BlockSize=36
"""


def test_the_queue_tells_jobs_apart_by_pool_and_survives_what_people_write() -> None:
    ours, plain, other, ended, prefixed = reading.queue(QUEUE, "main", MARK)
    assert ours == Queued(
        1, "RUNNING", "root", BEGAN, BEGAN + 3720, BEGAN - 1, 181, "nvl001-[03-04]", 4, "None", "one", LEASE, frozenset({"gpu"})
    )  # fmt: skip
    assert (plain.gpus, other.gpus) == (4, 0)
    assert (plain.lease, plain.start, plain.reason, plain.name) == ("", None, "Resources", "a\nb")
    assert (other.lease, other.start) == ("", BEGAN + 5212)
    assert (ended.lease, ended.ran) == ("", 90_120)
    # The name of a pool that begins like another's makes nothing the other's.
    assert (prefixed.job, prefixed.lease) == (6, "")
    assert len(reading.queue_format(MARK).split(MARK)) == len(QUEUE.splitlines()[0].split(MARK))


def test_a_partition_and_why_a_node_is_out_of_service_are_read() -> None:
    text = "PartitionName=gpu AllowGroups=ALL Default=YES QoS=N/A State=UP\nPartitionName=cpu Default=NO State=INACTIVE\n\n"
    assert [(one.name, one.state, one.default) for one in reading.partitions(text)] == [
        ("gpu", "UP", True), ("cpu", "INACTIVE", False),
    ]  # fmt: skip
    node = "NodeName=a-01 Gres=gpu:4 State=IDLE+DRAIN Partitions=gpu,debug BootTime=None Reason={} [root@2026-11-30T00:04:55]"
    [found] = reading.nodes(node.format("fan, see x=y State=IDLE [rack 3]"))
    assert found.reason == "fan, see x=y State=IDLE [rack 3]"
    assert (found.partitions, "DRAIN" in found.state) == ({"gpu", "debug"}, True)
    assert [one.reason for one in reading.nodes("NodeName=a-02 Gres=gpu:4 State=IDLE")] == [""]


def test_words_that_look_like_a_line_of_the_queue_are_none() -> None:
    first, last = QUEUE.splitlines()[0] + "\n", reading.queue(QUEUE.splitlines()[0] + "\n" + FORGED, "main", MARK)
    assert [job.job for job in last] == [1, 7]
    assert last[0] == reading.queue(first, "main", MARK)[0]
    assert (last[1].nodes, last[1].lease) == ("nvl001-03", "")


GIVEN = (("nvl001-03", (0, 1, 3)), ("nvl001-04", (0, 1, 3)), ("nvl001-05", (2,)))
NAME = f"nvlhub-main-{LEASE}"


def test_a_job_tells_which_gpus_on_which_nodes() -> None:
    assert reading.given(JOB, {1: NAME, 2: "x"}) == {1: [GIVEN]}
    assert reading.given(JOB, {1: NAME + "x"}) == {}
    array = JOB.replace("JobId=1 ", "JobId=9 ArrayJobId=8 ArrayTaskId=1 ")
    assert reading.given(f"{array}\n{JOB}\n", {1: NAME, 9: NAME}) == {1: [GIVEN], 9: [GIVEN]}


@pytest.mark.parametrize(
    "name",
    [
        "x Nodes=nvl001-09 GRES=gpu:1(IDX:0)", "x Nodes=a[b] GRES=gpu:1", "x Nodes=a[1-90000]b[1-90000] GRES=gpu:1(IDX:0)",
        "x MinCPUsNode=1", "x\nJobId=1 JobName=y UserId=z Nodes=nvl001-03 GRES=gpu:4(IDX:0-3) MinCPUsNode=1",
    ],
)  # fmt: skip
def test_a_name_tells_nothing_of_gpus(name: str) -> None:
    assert reading.given(JOB.replace(NAME, name), {1: name})[1][0] == GIVEN


def test_a_comment_that_looks_like_a_job_makes_it_doubtful_and_nothing_fails() -> None:
    forged = f"\nJobId=1 JobName={NAME} UserId=x Nodes={{}} GRES=gpu:1(IDX:0-2000000000) MinCPUsNode=1"
    for nodes in ("a[b]", "a[1-90000]b[1-90000]", "nvl001-03"):
        told = reading.given(JOB + forged.format(nodes), {1: NAME})[1]
        assert len(told) == 2
        assert told[0] == GIVEN


def test_nodes_tell_their_gpus_state_and_address() -> None:
    idle, draining, down, cpu = reading.nodes(NODES)
    assert (idle.gpus, idle.gpu_type, idle.address) == (4, "gb300", "10.0.0.7")
    assert idle.features == {"gb300", "nvl001"}
    assert draining.state == {"MIXED", "DRAIN"}
    assert down.state == {"DOWN", "NOT_RESPONDING"}
    assert (down.gpus, down.gpu_type) == (4, "")
    assert cpu.gpus == 0


def test_switches_and_blocks_read_alike() -> None:
    assert reading.topology(TREE) == reading.topology(BLOCKS)
    assert reading.topology(TREE)["nvl002"][-1] == "nvl002-18"


def test_accounting_tells_what_ran_by_the_name_it_was_submitted_with() -> None:
    name, times = f"nvlhub-main-{LEASE}", "2026-11-29T19:33:08|2026-11-29T19:33:11|3"
    submitted = f"sbatch --parsable --job-name={name} --comment=nvlhub:main:{LEASE}"
    text = (
        f"1|root|CANCELLED by 0|{times}|billing=16,cpu=16,gres/gpu=2,mem=16000M,node=1|renamed!|{submitted}\n"
        f"2|root|RUNNING|2026-11-29T19:33:08|Unknown|6|cpu=64,gres/gpu=8|{name}|{submitted}\n"
        f"3|bob|COMPLETED|{times}|gres/gpu=2|{name}|sbatch --wrap true\n"
        f"4|root|CANCELLED by 0|None|2026-11-29T19:33:11|0||{name}|{submitted}\n"
        f"5|root|COMPLETED|{times}|gres/gpu=2|x|{submitted.replace('main', 'other')}\n"
    ).replace("\n", "|\n").replace("|", MARK).replace("!", "\na|")  # fmt: skip
    forged = f"1|root|COMPLETED|{times}|gres/gpu=1|{name}|{submitted}|\n"
    fields = reading.record_format("JobIDRaw SubmitLine")
    ran = Past(1, "root", LEASE, "CANCELLED", BEGAN, BEGAN + 3, 3, 2)
    assert list(reading.records(text + forged, "main", MARK, fields)) == [
        ran, Past(2, "root", LEASE, "RUNNING", BEGAN, None, 6, 8)
    ]  # fmt: skip


def test_accounting_that_keeps_no_submission_tells_by_the_name_of_now() -> None:
    assert reading.record_format("Account JobIDRaw SubmitLine").endswith(",JobName,SubmitLine")
    assert reading.record_format("Account JobIDRaw").endswith(",JobName")
    line = f"1|root|COMPLETED|2026-11-29T19:33:08|2026-11-29T19:33:11|3|gres/gpu=2|{NAME}|\n"
    fields = reading.record_format("JobIDRaw")
    assert [past.lease for past in reading.records(line, "main", "|", fields)] == [LEASE]


def test_times_are_read_as_slurm_writes_them() -> None:
    assert [reading.duration(text) for text in ("3:04", "02:03:04", "1-02:03:04", "0:00", "INVALID", "")] == [
        184, 7384, 93_784, 0, 0, 0,
    ]  # fmt: skip
    assert reading.moment("Unknown") is None
    assert list(reading.indices_of("0-2,5")) == [0, 1, 2, 5]
    assert len(list(reading.indices_of("0-2000000000"))) == reading.MOST_GPUS
    assert list(reading.indices_of("N/A,x-3,1-x")) == []
    assert list(reading.indices_of("N/A")) == []
