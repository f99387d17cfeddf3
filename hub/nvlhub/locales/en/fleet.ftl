# Words of the picture of all GPUs: the screen Fleet and the notebook widget FleetMini.
fleet-sentence = { $free } of { $total } GPUs are free, { $leased } are leased.
fleet-reserved = { $count } are kept for reservations.
fleet-out = { $count } are out of service.
fleet-draining = { $count } of the leased ones go out of service when their leases end.
fleet-model = GPU model: { $model }.
fleet-simulated = GPU model: { $model }, simulated: these GPUs exist in name only.
fleet-none = No GPUs are known here yet. Check that the engine of this pool sees its nodes.
fleet-start = Free capacity for { $gpus } GPUs in one NVLink domain: { $now } could start now.
fleet-map = GPUs by rack
fleet-help = One tile is a rack, one row a tray, one cell a GPU. Arrow keys move from rack to rack; Enter or a tap opens one.
fleet-help-mini = One tile is a rack, one row a tray, one cell a GPU. Arrow keys move from rack to rack.
fleet-rack = { $name }: { $parts }
fleet-mean = busy { $percent } % on average
fleet-state-free = Free
fleet-state-leased = Leased
fleet-state-out = Out of service
fleet-state-draining = Draining
fleet-state-reserved = Reserved
fleet-busy-level = { $percent } % busy
fleet-busy-unknown = Leased, not measured
fleet-others = Others
fleet-mode = Colours show
fleet-mode-state = State
fleet-mode-busy = Utilisation
fleet-mode-holder = Holder
fleet-by = Holders are
fleet-by-programme = programmes
fleet-by-project = projects
fleet-by-user = users
fleet-table-show = Show the racks as a table
fleet-table-hide = Hide the table
fleet-table-title = Racks
fleet-table-page = Racks { $first } to { $last } of { $total }
fleet-table-next = Next racks
fleet-table-back = Previous racks
fleet-col-rack = Rack
fleet-col-trays = Trays in service
fleet-col-tray = Tray
fleet-col-gpu = GPU { $number }
fleet-col-shape = GPUs asked for
fleet-col-now = Could start now
fleet-col-packed = If the free GPUs lay together
fleet-col-part = Share that could start
fleet-col-waiting = Leases waiting
fleet-col-longest = Longest wait
fleet-col-name = Holder
fleet-col-gpus = GPUs
fleet-col-leases = Leases
fleet-col-busy = Utilisation
fleet-col-lease = Lease
fleet-col-user = User
fleet-col-project = Project
fleet-col-profile = Profile
fleet-col-idle = Kernel idle for
fleet-col-actions = Actions
fleet-room-title = Free capacity by shape
fleet-room-text = Fragmentation is { $percent } %: so much of what the free GPUs would suffice for cannot start, because they lie in different trays or racks. 0 % is best.
fleet-shape = { $gpus } { $gpus ->
    [one] GPU
   *[other] GPUs
}
fleet-racks-title = Racks by healthy trays
fleet-racks-text = { $whole } { $whole ->
    [one] rack has all its trays
   *[other] racks have all their trays
} in service, { $most } { $most ->
    [one] has
   *[other] have
} at least 16 of 18 (enough for 64 GPUs), { $fewer } { $fewer ->
    [one] has
   *[other] have
} fewer.
fleet-pending-title = Waiting for room
fleet-pending-none = Nobody waits for room.
fleet-top-title = Who holds the GPUs
fleet-top-none = Nobody holds a GPU.
fleet-idle-title = Held and idle
fleet-idle-text = Running for 5 minutes or more with less than 10 % utilisation; where that is not measured, with a kernel that has done nothing for 5 minutes.
fleet-idle-none = No lease holds its GPUs for nothing.
fleet-unmeasured = not measured
fleet-activity-title = Held and computing, 24 hours
fleet-activity-text = On average { $held } GPUs were held and { $busy } of them computed in the last 24 hours.
fleet-activity-held = GPUs held
fleet-activity-busy = GPUs computing
fleet-activity-time = Time
fleet-drill-title = Rack { $name }
fleet-drill-text = { $free } of { $gpus } GPUs are free, { $leased } are leased; { $up } of { $trays } trays are in service.
fleet-drill-close = Close
fleet-drill-gone = There is no rack { $name } here (any more). Choose one on the map.
fleet-tray-title = Tray { $tray }
fleet-tray-none = No lease holds a GPU of this tray.
fleet-tray-open = Open
fleet-tray-open-label = Open tray { $tray }
fleet-tray-up = in service
fleet-tray-down = out of service
fleet-gpu-free = free
fleet-drain = Drain
fleet-undrain = Put back
fleet-drain-rack = Drain the rack
fleet-undrain-rack = Put the rack back into service
fleet-drain-label = Drain tray { $tray }
fleet-undrain-label = Put tray { $tray } back into service
fleet-drain-confirm = Take all trays of { $name } out of service? What runs there goes on until it ends; nothing new starts there.
fleet-drained = Out of service: { $what }. What runs there goes on until it ends.
fleet-undrained = Back in service: { $what }.
fleet-end = End the lease
fleet-end-label = End lease { $lease } of { $user }
fleet-end-confirm = End lease { $lease } of { $user }? What they have not saved in it is lost.
fleet-ended = Lease { $lease } is ending; its GPUs will be free in a moment.
fleet-message = Message
fleet-message-label = Message { $user } about lease { $lease }
fleet-message-title = Message to { $user } about lease { $lease }
fleet-message-text = Text (at most 500 characters)
fleet-message-level = Urgency
fleet-level-info = For information
fleet-level-warning = Warning
fleet-level-urgent = Urgent
fleet-message-send = Send
fleet-message-cancel = Cancel
fleet-message-sent = { $user } has been sent your message.
fleet-mini-down = The picture of the GPUs cannot be shown: { $why }
