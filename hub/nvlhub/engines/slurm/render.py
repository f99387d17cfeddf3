"""Slurm's configuration files from a plan of the site. Pure: a plan in, texts out.

Domain ``nvl001`` has the nodes ``nvl001-01`` to ``nvl001-18``, one a tray; each bears its domain's name as its only feature,
and a domain is one leaf switch (or one block). CPU nodes are ``cpu001`` and on.
"""

from __future__ import annotations

from dataclasses import dataclass

BLOCKS = (24, 5)
"""First version whose topology/block takes ``BlockSizes`` and whose sbatch takes ``--segment``."""
YAML = (25, 5)
"""First version with ``topology.yaml``: several topologies in one cluster."""
IMEX = (24, 5)
"""First version with switch/nvidia_imex."""
TOPOLOGIES = ("topology.conf", "topology.yaml")
"""Files that say what a domain is: one of them, by the version."""
EVERY_LEVEL_ON_ITS_OWN = 65533
"""A tree so wide that the controller speaks to each node itself."""


@dataclass(frozen=True)
class Paths:
    """Where the daemons keep what. Every node has its own."""

    etc: str = "/etc/slurm"
    log: str = "/var/log/slurm"
    state: str = "/var/spool/slurmctld"
    spool: str = "/var/spool/slurmd"
    run: str = "/run/slurm"
    devices: str = "/dev"
    munge: str = "/run/munge/munge.socket.2"
    """Socket of munged."""

    @classmethod
    def below(cls, base: str) -> Paths:
        """Return paths that all lie in one directory."""
        return cls(
            etc=f"{base}/etc", log=f"{base}/log", state=f"{base}/state", spool=f"{base}/spool", run=f"{base}/run",
            devices=f"{base}/dev", munge=f"{base}/munge/socket",
        )  # fmt: skip


@dataclass(frozen=True)
class Site:
    """A plan: what there is, and where."""

    domains: int
    host: str
    """Short name of the machine of slurmctld; a simulated cluster is all on it."""
    cluster: str = "nvlhub"
    trays: int = 18
    gpus: int = 4
    """GPUs of a tray."""
    cpu_nodes: int = 1
    version: tuple[int, int] = (25, 5)
    accounting: bool = True
    simulated: bool = False
    """All nodes are daemons on this machine, with GPUs that are none."""
    address: str = "127.0.0.1"
    """Of a simulated cluster: what the machine's name resolves to, and the only address that is listened on; Slurm can be
    told no other. Empty: every address is."""
    user: str = "slurm"
    """Account of slurmctld and slurmdbd; in a simulated cluster of every daemon."""
    port: int = 6817
    accounting_port: int = 6819
    first_node_port: int = 6818
    """Port of slurmd; in a simulated cluster of the first one, the others follow."""
    accounting_host: str = ""
    """Machine of slurmdbd; left out: that of slurmctld."""
    paths: Paths = Paths()

    @property
    def domain_names(self) -> list[str]:
        """Names of the domains."""
        return [f"nvl{domain:03}" for domain in range(1, self.domains + 1)]

    @property
    def gpu_nodes(self) -> list[str]:
        """Names of the nodes with GPUs, by domain and tray."""
        return [f"{domain}-{tray:02}" for domain in self.domain_names for tray in range(1, self.trays + 1)]

    @property
    def cpu_node_names(self) -> list[str]:
        """Names of the nodes without GPUs."""
        return [f"cpu{node:03}" for node in range(1, self.cpu_nodes + 1)]

    @property
    def nodes(self) -> list[str]:
        """Names of all nodes, in the order of their ports."""
        return self.gpu_nodes + self.cpu_node_names


def render(site: Site) -> dict[str, str]:
    """Return the texts of the configuration files by their names."""
    files = {"slurm.conf": _slurm(site), "gres.conf": _gres(site), "cgroup.conf": _cgroup(site), **_topology(site)}
    if site.accounting:
        files["slurmdbd.conf"] = _slurmdbd(site)
    return files


def _slurm(site: Site) -> str:
    parts = [_daemons(site), _scheduling(site), _isolation(site), _accounting(site), _nodes(site), _partitions(site)]
    return "\n".join("\n".join(part) + "\n" for part in parts)


def _daemons(site: Site) -> list[str]:
    paths = site.paths
    lines = [
        f"ClusterName={site.cluster}",
        f"SlurmctldHost={site.host}{f'({_address(site)})' if site.simulated else ''}",
        f"SlurmctldPort={site.port}",
        f"SlurmUser={site.user}",
        f"SlurmdUser={site.user if site.simulated else 'root'}",
        "AuthType=auth/munge",
        f"AuthInfo=socket={paths.munge}",
        "CredType=cred/munge",
        f"StateSaveLocation={paths.state}",
        f"SlurmctldPidFile={paths.run}/slurmctld.pid",
        f"SlurmctldLogFile={paths.log}/slurmctld.log",
        f"SlurmdPidFile={paths.run}/slurmd{'-%n' if site.simulated else ''}.pid",
        f"SlurmdLogFile={paths.log}/slurmd{'-%n' if site.simulated else ''}.log",
        f"SlurmdSpoolDir={paths.spool}{'/%n' if site.simulated else ''}",
    ]
    if site.simulated:
        return [
            *lines,
            *_listening(site),
            "# Believe the CPUs and the memory that the nodes are said to have.",
            "SlurmdParameters=config_overrides",
            "# The controller speaks to each node itself.",
            f"TreeWidth={EVERY_LEVEL_ON_ITS_OWN}",
            "ReturnToService=2",
            "SlurmdTimeout=60",
            "SlurmctldTimeout=30",
            "MessageTimeout=20",
            "BatchStartTimeout=20",
            "TCPTimeout=5",
        ]
    return [
        *lines,
        f"SlurmdPort={site.first_node_port}",
        "# A node that was silent and is well again may be used; one that rebooted unasked waits for a person.",
        "ReturnToService=1",
        "SlurmdTimeout=300",
        "SlurmctldTimeout=120",
        "MessageTimeout=30",
        "BatchStartTimeout=30",
    ]


def _address(site: Site) -> str:
    """Return where a simulated cluster is spoken to."""
    return site.address or "127.0.0.1"


def _listening(site: Site) -> list[str]:
    if not site.address:
        return []
    return ["# Else every daemon listens on all addresses.", "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny"]


def _scheduling(site: Site) -> list[str]:
    # One look at the queue after each submission, without the pauses that spare a busy controller.
    quick = "bf_interval=1,sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_continue"
    patient = "bf_continue,bf_interval=30,bf_max_job_test=2000,bf_window=4320,batch_sched_delay=1,max_switch_wait=300"
    return [
        "SchedulerType=sched/backfill",
        f"SchedulerParameters={quick if site.simulated else patient}",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        "GresTypes=gpu",
        *_topology_plugin(site),
        "PriorityType=priority/multifactor",
        "# A budget that was used up does not come back by itself.",
        "PriorityDecayHalfLife=0",
        "PriorityUsageResetPeriod=NONE",
        "PreemptType=preempt/none",
        "# What can never start is refused, with the reason, not left waiting.",
        "EnforcePartLimits=ALL",
        "# A job that lost its node ends: its kernel's memory is gone, and whoever waits is told.",
        "JobRequeue=0",
        "# Ended jobs can be asked about this long, in seconds.",
        "MinJobAge=300",
        "KillWait=5" if site.simulated else "KillWait=30",
        "InactiveLimit=0",
        "PropagateResourceLimits=NONE",
    ]


def _isolation(site: Site) -> list[str]:
    if site.simulated:
        return [
            "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "MpiDefault=none", "SwitchType=switch/none",
            f"JobAcctGatherType=jobacct_gather/{'linux' if site.accounting else 'none'}",
        ]  # fmt: skip
    lines = [
        "ProctrackType=proctrack/cgroup",
        "TaskPlugin=task/cgroup,task/affinity",
        "JobAcctGatherType=jobacct_gather/cgroup",
        "MpiDefault=none",
        "# Nobody sees whose jobs the others run, nor what they may use.",
        "PrivateData=accounts,jobs,reservations,usage,users",
    ]
    if site.version >= IMEX:
        lines += [
            "# A channel of the NVLink network for each job: no other job reaches its GPUs' memory.",
            "SwitchType=switch/nvidia_imex",
        ]
    return lines


def _accounting(site: Site) -> list[str]:
    if not site.accounting:
        return ["AccountingStorageType=accounting_storage/none", "JobCompType=jobcomp/none"]
    return [
        "AccountingStorageType=accounting_storage/slurmdbd",
        f"AccountingStorageHost={_accounting_host(site)}",
        f"AccountingStoragePort={site.accounting_port}",
        f"AccountingStoragePass={site.paths.munge}",
        "AccountingStorageTRES=gres/gpu",
        "# safe: a job starts only where its whole time fits into the budget.",
        "AccountingStorageEnforce=associations,limits,qos,safe",
        "# Comments say which lease a job is for: kept, so that the past can be told apart.",
        "AccountingStoreFlags=job_comment",
        "JobCompType=jobcomp/none",
    ]


def _accounting_host(site: Site) -> str:
    return _address(site) if site.simulated else site.accounting_host or site.host


def _nodes(site: Site) -> list[str]:
    lines = []
    port = site.first_node_port
    for domain in site.domain_names:
        lines.append(
            f"NodeName={_span(f'{domain}-', site.trays, 2)} {_ports(site, port, site.trays)}Sockets=2 CoresPerSocket=72 "
            f"ThreadsPerCore=1 RealMemory=900000 Gres=gpu:gb300:{site.gpus} Feature={domain} State=UNKNOWN"
        )
        port += site.trays
    if site.cpu_nodes:
        lines.append(
            f"NodeName={_cpu_nodes(site)} {_ports(site, port, site.cpu_nodes)}Sockets=2 CoresPerSocket=64 "
            "ThreadsPerCore=1 RealMemory=500000 State=UNKNOWN"
        )
    return lines


def _ports(site: Site, first: int, count: int) -> str:
    if not site.simulated:
        return ""
    ports = f"[{first}-{first + count - 1}]" if count > 1 else str(first)
    return f"NodeHostName={site.host} NodeAddr={_address(site)} Port={ports} "


def _partitions(site: Site) -> list[str]:
    longest = "INFINITE" if site.simulated else "7-00:00:00"
    common = f"DefaultTime=01:00:00 MaxTime={longest} State=UP OverSubscribe=NO"
    # A GPU's share of a tray: 2 x 72 cores and 900 GB, less what is left to the system.
    share = "DefCpuPerGPU=8 DefMemPerCPU=1000" if site.simulated else "DefCpuPerGPU=32 DefMemPerGPU=200000"
    lines = [f"PartitionName=gpu Nodes={_gpu_nodes(site)} Default=YES {common} {share}"]
    if site.cpu_nodes:
        flat = " Topology=flat" if _has_yaml(site) else ""
        lines.append(f"PartitionName=cpu Nodes={_cpu_nodes(site)} {common} DefMemPerCPU=1000{flat}")
    return lines


def _gres(site: Site) -> str:
    files = f"Name=gpu Type=gb300 File={site.paths.devices}/nvidia[0-{site.gpus - 1}]"
    if site.simulated:
        return f"AutoDetect=off\n{files}\n"
    lines = ["# The GPUs that NVML finds must be these. A Slurm built without NVML: write AutoDetect=off."]
    lines += [f"NodeName={_span(f'{domain}-', site.trays, 2)} AutoDetect=nvml {files}" for domain in site.domain_names]
    return "\n".join(lines) + "\n"


def _cgroup(site: Site) -> str:
    if site.simulated:
        return "CgroupPlugin=cgroup/v1\n"
    return (
        "CgroupPlugin=autodetect\n"
        "# A job sees the GPUs it was given, and no other.\n"
        "ConstrainDevices=yes\nConstrainCores=yes\nConstrainRAMSpace=yes\nConstrainSwapSpace=yes\nAllowedSwapSpace=0\n"
    )


def _has_yaml(site: Site) -> bool:
    return site.version >= YAML


def topology(site: Site) -> str:
    """Return ``block`` or ``tree``: what the domains are to this version of Slurm.

    Before `YAML` a cluster has one topology, no block may be smaller than the first, and nodes in none cannot be used: CPU
    nodes then have a block of their own where they are enough for one, else domains are leaf switches.
    """
    enough = site.cpu_nodes == 0 or site.cpu_nodes >= site.trays
    return "block" if site.version >= YAML or (site.version >= BLOCKS and enough) else "tree"


def _topology_plugin(site: Site) -> list[str]:
    also = (
        ["# What counts is topology.yaml; this line is for those who ask for the configuration."]
        if _has_yaml(site)
        else []
    )
    return [*also, f"TopologyPlugin=topology/{topology(site)}"]


def _topology(site: Site) -> dict[str, str]:
    members = {domain: _span(f"{domain}-", site.trays, 2) for domain in site.domain_names}
    if _has_yaml(site):
        blocks = "".join(f"      - block: {domain}\n        nodes: {nodes}\n" for domain, nodes in members.items())
        return {
            "topology.yaml": "---\n- topology: nvlink\n  cluster_default: true\n  block:\n    block_sizes:\n"
            f"      - {site.trays}\n    blocks:\n{blocks}- topology: flat\n  cluster_default: false\n  flat: true\n"
        }
    if site.cpu_nodes:
        members["cpu"] = _cpu_nodes(site)
    if topology(site) == "block":
        blocks = "".join(f"BlockName={block} Nodes={nodes}\n" for block, nodes in members.items())
        return {"topology.conf": f"{blocks}BlockSizes={site.trays}\n"}
    leaves = "".join(f"SwitchName={switch} Nodes={nodes}\n" for switch, nodes in members.items())
    spine = f"SwitchName=spine Switches={','.join(members)}\n" if len(members) > 1 else ""
    return {"topology.conf": leaves + spine}


def _slurmdbd(site: Site) -> str:
    paths = site.paths
    lines = [
        "AuthType=auth/munge",
        f"AuthInfo=socket={paths.munge}",
        f"DbdHost={'localhost' if site.simulated else site.accounting_host or site.host}",
        *([f"DbdAddr={_address(site)}", *_listening(site)] if site.simulated else []),
        f"DbdPort={site.accounting_port}",
        f"SlurmUser={site.user}",
        f"LogFile={paths.log}/slurmdbd.log",
        f"PidFile={paths.run}/slurmdbd.pid",
        "StorageType=accounting_storage/mysql",
        "# Over the database's socket, as the account of this daemon: no password stands here.",
        "StorageHost=localhost",
        f"StorageUser={site.user}",
        "StorageLoc=slurm_acct_db",
        *([] if site.simulated else ["PrivateData=accounts,jobs,reservations,usage,users"]),
    ]
    return "\n".join(lines) + "\n"


def _gpu_nodes(site: Site) -> str:
    return ",".join(_span(f"{domain}-", site.trays, 2) for domain in site.domain_names)


def _cpu_nodes(site: Site) -> str:
    return _span("cpu", site.cpu_nodes, 3)


def _span(stem: str, count: int, digits: int) -> str:
    """Return the names ``<stem>01`` and on, as Slurm writes ranges."""
    first = f"{1:0{digits}}"
    return f"{stem}[{first}-{count:0{digits}}]" if count > 1 else stem + first
