# What GPUs did: events of a lease, the screens Usage and Lease.
event-asked = Asked for; the hold was set aside.
event-placed = GPUs were found for it.
event-started = It began to run: the meter runs from here.
event-extended = More time was paid for: { $held } GPU-hours were set aside by { $actor }.
event-refunded = { $held } GPU-hours were refunded. { $reason }
event-corrected = { $held } GPU-hours were corrected by { $actor }: { $reason }
event-settled = Settled: { $charged } GPU-hours were charged, the rest of the hold was given back.
event-deadline-near = The holder was warned: the deadline is near.
event-idle-near = The holder was warned: nothing runs, the lease is about to be given back.
event-preempt-near = The holder was warned: others need the GPUs.
