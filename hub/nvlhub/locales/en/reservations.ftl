# Whole trays that are kept for a project between two times.
reservation-unknown = There is no reservation { $reservation }. The list of reservations has the numbers of those there are.
reservation-past = starts: it lies in the past. It is { $now } now; give a time from now on.
reservation-too-far = starts: it is too far away. The latest start that can be reserved is { $latest }.
reservation-reversed = ends: it must lie after { $starts }.
reservation-too-long = ends: a reservation lasts 90 days at most, here until { $latest }. Make another one for the time after it.
reservation-over = The reservation { $reservation } is over or was cancelled, so it cannot be changed. Make a new one.
reservation-no-room = { $gpus } GPUs cannot be reserved then: the trays are reserved already, or out of service. Nothing was reserved.
    Possible in the same time: { $largest_gpus } GPUs. Within 30 days after it there is no time of the same length with { $gpus }.
    Ask for fewer GPUs or a shorter time, or cancel or move another reservation.
reservation-no-room-then = { $gpus } GPUs cannot be reserved then: the trays are reserved already, or out of service. Nothing was reserved.
    Possible in the same time: { $largest_gpus } GPUs. Possible for as long with { $gpus } GPUs: from { $next_start } on.
extend-reserved = Not extended: its GPUs are reserved for a project after that. It can be extended by { $most_seconds } more. The lease goes on until its deadline; start a new one elsewhere after it.

time-unreadable = “{ $given }” is no time. Give it as 2027-03-14T09:00 (in the site's zone), 2027-03-14T09:00+08:00, or as a day, 2027-03-14.
time-left-out = { $given } does not exist in the site's zone: clocks are put forward over it. Give { $instead }, or a time before.
time-twice = { $given } exists twice in the site's zone, because clocks are put back. Give it with its offset: { $first } or { $last }.
