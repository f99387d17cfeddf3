# Sentences of the notebook side.
portal-down = The portal that hands out GPUs does not answer, so nothing was started and nothing was charged. CPU kernels work as always. Try again in a minute; if it goes on, tell an administrator.
kernel-cancelled = The start was cancelled before there was room; your place in the queue is given back and nothing was charged.
kernel-ended = The GPU lease of this kernel is over: { $detail }. Start a new kernel to take a new lease.
kernel-silent = The kernel did not report within { $seconds } s; its lease was given back. Try again; if it goes on, tell an administrator.
kernel-still = The kernel on { $gpus } × GPU ({ $project }) has not been heard for { $seconds } s: where it runs stands still, or is cut off from here. { $kept }As soon as it is heard again it goes on, with its variables; it cannot be restarted before. To give it up, shut it down.
kernel-still-kept = It is kept for another { $seconds } s.{" "}
kernel-failed = The kernel ended while it started (exit status { $rc }); its lease was given back.
    { $tail }
kernel-minutes = { $minutes } min
kernel-preemptible = pre-emptible
cpu-kernel = Python 3 (CPU)
queued = Waiting for { $gpus } × GPU ({ $project }): position { $position } in the queue, expected start { $start }. Cells you run meanwhile are kept and run then.
queued-unknown = not foreseeable
queued-cancel = Cancel
lease-title = { $gpus } × { $model } lease
lease-simulated = simulated: there is no real GPU behind it
lease-none = This kernel holds no lease: it runs on CPUs. Kernels that hold one are in the launcher, one per project and profile.
lease-row-lease = Lease
lease-row-state = State
lease-row-gpus = GPUs
lease-row-placement = Placement
lease-row-devices = Devices
lease-row-project = Project
lease-row-profile = Profile
extend-minutes = minutes: a number from 1 to { $most }, e.g. minutes=60; it was { $given }. Nothing was extended.
lease-row-left = Time left
lease-row-price = Price
lease-row-hold = Set aside
queued-in = in about { $minutes } min

# Dask clusters.
cluster-no-lease = This kernel holds no GPU lease, so nobody would pay for workers. Open a notebook with a GPU kernel, or say who pays: Cluster(project="…"). Nothing was started.
cluster-no-domain = span="domain" means the NVLink domain of this kernel's lease, and this kernel holds none. Open a notebook with a GPU kernel, or leave span out. Nothing was started.
cluster-no-profile = profile: nothing called “{ $profile }” is offered to project “{ $project }”. Offered: { $known }. Nothing was started.
cluster-no-offer = Nothing is offered to project “{ $project }” now, so no worker can be started. Ask an administrator of the portal for a profile.
cluster-gang-too-large = gang: { $gpus } GPUs in one lease are more than any profile of this project has; “{ $profile }” has { $most }. Ask for at most { $most }, or leave gang out.
cluster-gang-cut = workers: the workers of a gang end together, so this cluster cannot have { $workers }; it can have { $allowed }. Nothing was changed.
cluster-gang-adapt = adapt: the workers of a gang start and end together, so their number cannot follow the load. Leave gang out, or use scale.
cluster-no-dask-cuda = There are real GPUs here, and the package dask-cuda is not installed, so no GPU worker can be started. Install it: pip install "nvlhub[gpu]". Nothing was started.
cluster-closed = The cluster “{ $name }” is closed. Make a new one: Cluster(workers=…).
cluster-not-whole = { $argument }: { $given } is not possible; a whole number from { $least } to { $most } is.
cluster-not-one-of = { $argument }: { $given } is not possible; one of { $allowed } is.
cluster-not-pairs = { $argument }: { $given } is not possible; names beginning with { $begins } (without “=”) and their texts are, for example { "{" }"{ $begins }NAME": "text"{ "}" }.
cluster-stops-replacing = { $losses } leases of workers were lost within a minute; no more are asked for. get_logs() shows why workers end; scale() tries again.
explain-no-workers = No worker runs now.
dashboard-gone = No cluster of yours has a dashboard at this address: it is closed, or its kernel has ended. The cell that shows the cluster has the address of a new one.
cluster-name-taken = name: a cluster called “{ $name }” is open in this process. Close it, or choose another name.
cluster-name-bad = name: 1 to 60 characters without line breaks, <, > and &.
cluster-partial = { $started } of { $asked } workers start now; { $waiting } wait for room ({ $wait }). They join by themselves; scale down to give up their places.
cluster-less = Scaling up to { $wanted } workers stops at { $got } for now: { $why } It is tried again while there is work.
cluster-no-room = there is no room for more now.
cluster-warning = { $text }
cluster-adapt-ends = The number of workers no longer follows the load: scale() sets it. Call adapt() to have it follow again.
cluster-lost = The lease of { $gpus } worker(s) is over: { $why }.
cluster-replaced = A worker's lease was lost; another one is asked for.
cluster-not-replaced = A worker's lease was lost, and there is none instead: { $why }
cluster-gave-up = A worker ended { $deaths } times within { $seconds } s and is given up; its lease is given back.
    { $tail }
cluster-workers-waiting = { $workers } of { $wanted }; the others wait for room ({ $wait })
cluster-workers-coming = { $workers } of { $wanted }; the others start
cluster-queue = position { $position }, expected start { $start }
cluster-simulated = { $gpus } (simulated: workers run on CPUs, leases and the ledger are real)
cluster-real = { $gpus }
cluster-price = { $price } GPU-h per hour
cluster-charge = { $seconds } GPU-s ({ $hours } GPU-h)
cluster-left = { $hours } h { $minutes } min
cluster-row-workers = Workers
cluster-row-gpus = GPUs
cluster-row-domain = NVLink domain
cluster-row-transport = Transport
cluster-row-price = Price
cluster-row-left = Time left
cluster-row-charge = Charged so far
usage-where = Where
usage-device = Device
usage-busy = Busy
usage-memory = Memory
usage-gpu-busy = GPU { $percent } %
usage-cpu-busy = CPU { $percent } % (simulated: no GPU)
usage-coming = { $workers } worker(s) have not joined yet.
usage-charge = Charged so far: { $seconds } GPU-s ({ $hours } GPU-h).
explain-simulated = The GPUs are simulated: each worker is a process on CPUs that stands for one GPU. Leases, queue and charge are real.
explain-real = One worker per GPU, found by its UUID.
explain-one-domain = All workers reach each other by NVLink where the GPUs are real.
explain-across-domains = Workers in different domains reach each other over the network, 18 to 36 times slower than NVLink.
explain-tls = Encrypted between all parties with certificates of this cluster alone; the safe default. Data pass through the host's memory.
explain-ucx = NVLink between GPUs, between trays too, without a detour through the host. Not encrypted: the pool says that the domain's network is private to those who hold it.
explain-plain = A plain Dask worker; the node agent restarts it inside its lease.
explain-cuda = A dask-cuda worker: pinned to its GPU's UUID and to the CPU cores next to it.
explain-one-thread = One thread per GPU: kernels of one process share a GPU poorly.
explain-pandas = Dataframes are pandas, arrays NumPy: there is no GPU.
explain-backend = Dataframes are cuDF where it is installed, else pandas.
explain-cudf-spill = cuDF moves dataframes to host memory when the GPU is full, instead of failing.
explain-fabric = GPU memory comes from an RMM pool with fabric handles where the driver gives them: without them NVLink ends at the tray.
explain-no-ucx-simulated = ucx was asked for, and there is no GPU here: tls is used.
explain-no-ucx-shared = ucx was asked for, and this pool's network is shared: ucx is not encrypted, so tls is used. An administrator can say that a domain's network is private (setting private_fabric).
explain-no-ucx-package = ucx was asked for, and the package distributed-ucxx is not installed: tls is used. Install it: pip install "nvlhub[gpu]".
explain-no-imex = There is no IMEX channel here, so traffic between trays falls back to TCP; inside a tray NVLink is used. Ask an administrator for nvidia-imex.
