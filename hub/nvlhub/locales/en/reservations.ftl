# Whole trays that are kept for a project between two times.
reservation-unknown = There is no reservation { $reservation }. The list of reservations has the numbers of those there are.
reservation-past = starts: it lies in the past. It is { $now } now; give a time from now on.
reservation-too-far = starts: it is too far away. The latest start that can be reserved is { $latest }.
reservation-reversed = ends: it must lie after { $starts }.
reservation-too-long = ends: a reservation lasts 90 days at most, here until { $latest }. Make another one for the time after it.
reservation-over = The reservation { $reservation } is over or was cancelled, so it cannot be changed. Make a new one.
reservation-no-room = { $gpus } GPUs cannot be reserved then: the trays are reserved already, or out of service. Nothing was reserved.
    Possible in the same time: { $most_gpus } GPUs. Within 30 days after it there is no time of the same length with { $gpus }.
    Ask for fewer GPUs or a shorter time, or cancel or move another reservation.
reservation-no-room-then = { $gpus } GPUs cannot be reserved then: the trays are reserved already, or out of service. Nothing was reserved.
    Possible in the same time: { $most_gpus } GPUs. Possible for as long with { $gpus } GPUs: from { $next_start } on.
extend-reserved = Not extended: its GPUs are reserved for a project after that. It can be extended by { $most_seconds } more. The lease goes on until its deadline; start a new one elsewhere after it.

time-unreadable = “{ $given }” is no time. Give it as 2027-03-14T09:00 (in the site's zone), 2027-03-14T09:00+08:00, or as a day, 2027-03-14.
time-left-out = { $given } does not exist in the site's zone: clocks are put forward over it. Give { $instead }, or a time before.
time-twice = { $given } exists twice in the site's zone, because clocks are put back. Give it with its offset: { $first } or { $last }.

reservations-plot = Reserved GPUs
reservations-in = In the next { $days } days { $count ->
    [0] nothing is reserved; { $capacity } GPUs are in service.
    [1] one reservation keeps { $peak } of the { $capacity } GPUs in service.
   *[other] { $count } reservations keep up to { $peak } of the { $capacity } GPUs in service.
 }
reservations-span = Shown
reservations-days = next { $days } days
reservations-capacity = in service: { $gpus }
reservations-axis = GPUs
reservations-list = Reservations
reservations-none = Nothing is reserved. Fill in the form to keep whole trays for a project.
reservations-more = Only the first { $shown } of { $total } are shown. `nvlhub reservation list` has them all.
reservations-new = Reserve GPUs
reservations-zone = Times are in { $zone }. A reservation costs nothing by itself: what runs in it is charged as ever.
reservations-name = Name
reservations-project = Project
reservations-gpus = GPUs (whole trays)
reservations-starts = From
reservations-ends = Until
reservations-note = Note (optional)
reservations-which = { $time } exists twice, because clocks are put back. Which one?
reservations-first = the first, { $time }
reservations-last = the second, { $time }
reservations-add = Reserve
reservations-fill = Fill in project, GPUs and times; what would be reserved is shown here.
reservations-would = This would keep { $gpus } GPUs: { $where }.
reservations-clear = Nobody is in the way.
reservations-way = { $count ->
    [1] One lease that runs there now could go on beyond the start, until { $until } at the latest. It is not ended; its GPUs are missing until then:
   *[other] { $count } leases that run there now could go on beyond the start, until { $until } at the latest. They are not ended; their GPUs are missing until then:
 }
reservations-lease = { $gpus } GPUs of { $user } ({ $project }), until { $until } at the latest
reservations-made = Reserved: { $gpus } GPUs for { $project }.
reservations-moved = Moved.
reservations-cancelled = Cancelled. Its trays are free for others.
reservations-changed = Nothing was changed: somebody else changed this reservation meanwhile. It is shown as it is now; look at it and try again.
reservations-bad-gpus = GPUs: give a whole number from 1 to 10008.
reservations-when = { $starts } to { $ends }
reservations-for = for { $project }
reservations-gpus-kept = { $gpus } GPUs
reservations-now = now
reservations-by = by { $user }
reservations-move = Move
reservations-move-of = Move “{ $name }”
reservations-cancel = Cancel
reservations-cancel-of = Cancel “{ $name }”
reservations-sure = Cancel “{ $name }”? Its trays are free for others at once. What runs goes on.
