# What people see of an engine that has its own queue, its own strangers, and its own bad days.
engine-away = The cluster does not answer now. What runs goes on, and nothing is charged twice: the cluster's own clock counts when it answers again. Nothing new starts until then; what you ask for waits in the queue. If this lasts for more than ten minutes, tell an administrator.
engine-away-admin = No answer now: nothing new starts. See whether its controller runs; the portal's log says what it last heard.
waits-until = { $why } Expected at { $at }.
waits-soon = { $why } It should start at any moment.
queued-cluster = { $gpus } × GPU ({ $project }): { $why } Cells you run meanwhile are kept and run then. Until it starts, nothing is charged.
queued-agent = { $gpus } × GPU ({ $project }): the GPUs are there and are charged, but the kernel has not reported yet. Wait a little; if nothing comes, cancel the start and tell an administrator.
kernel-cancelled-late = The start was cancelled; its lease is given back. Only the seconds for which the GPUs were yours are charged.
compute-pending-sure = Leave the cluster's queue with { $name }? Unless the cluster has begun it by then, nothing is charged.
compute-did-pending = { $name } leaves the cluster's queue. Unless the cluster had begun it, nothing is charged.
fleet-outside = { $count } are held outside the portal.
fleet-state-outside = Outside the portal
fleet-gpu-outside = outside the portal
fleet-drill-outside = { $count } are held outside the portal: nothing can be done to them here.
fleet-tray-engine = out of service, by the cluster
fleet-tray-engine-how = What the cluster took out of service comes back by itself as soon as the cluster puts it back.
gpu-outside = outside the portal
free-outside = { $count } GPUs are held by others, outside the portal.
