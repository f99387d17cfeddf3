# Sentences of the notebook side.
portal-down = The portal that hands out GPUs does not answer, so nothing was started and nothing was charged. CPU kernels work as always. Try again in a minute; if it goes on, tell an administrator.
kernel-cancelled = The start was cancelled before there was room; your place in the queue is given back and nothing was charged.
kernel-ended = The GPU lease of this kernel is over: { $detail }. Start a new kernel to take a new lease.
kernel-silent = The kernel did not report within { $seconds } s; its lease was given back. Try again; if it goes on, tell an administrator.
kernel-failed = The kernel ended while it started (exit status { $rc }); its lease was given back.
    { $tail }
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
lease-row-left = Time left
lease-row-price = Price
lease-row-hold = Set aside
queued-in = in about { $minutes } min
