# My compute, and what leads of projects do there.
end-lead = { $lead }, who answers for the project, ended it
answer-odd = The portal gave an answer that cannot be shown. What is shown is what it said before; nothing was changed. If it stays like this, tell an administrator.
pages-label = Pages
pages-at = Page { $page } of { $pages }, { $total } in all
pages-back = Previous page
pages-on = Next page
button-look = Look
amount-hours = { $hours } GPU-hours

compute-start-question = Can I start now?
compute-start-yes = Yes
compute-start-yes-words = “{ $shape }” can start at once, paid by { $project }.
compute-start-shorter = Yes, shorter
compute-start-shorter-words = What is left does not pay for the full time. “{ $shape }” can start at once for { $time }, paid by { $project }.
compute-start-wait = After waiting
compute-start-wait-words = The machine is full. “{ $shape }” would start in about { $wait }.
compute-start-wait-unknown = Nothing can start at once, and when there will be room cannot be foreseen. What you start waits in the queue.
compute-start-no = No
compute-start-no-words = Nothing can start as things are: the reasons stand under “Start now”.
compute-start-none = Not yet
compute-start-none-words = You are in no project. Ask whoever leads your project to add you; your name here is { $user }.
compute-have-question = What do I have?
compute-have-none = Nothing
compute-have-none-words = You hold no GPU, and nothing is charged.
compute-have-gpus = { $gpus } { $gpus ->
    [one] GPU
   *[other] GPUs
}
compute-have-words = In { $leases } { $leases ->
    [one] lease
   *[other] leases
}.
compute-have-ends = The first one ends in
compute-have-waiting = { $waiting } of them { $waiting ->
    [one] waits
   *[other] wait
} for room.
compute-waste-question = What am I wasting?
compute-waste-none = Nothing
compute-waste-none-words = No GPU of yours has been idle for ten minutes or longer.
compute-waste-now = { $gpus } idle { $gpus ->
    [one] GPU
   *[other] GPUs
}
compute-waste-now-words = Nothing ran on them for ten minutes or longer, and they are charged. End what you do not need.
compute-waste-day = In 24 h, { $hours } GPU-hours were held without computing.

compute-leases = What I have
compute-leases-none = You hold no GPU now, and nothing is charged.
compute-leases-next = Start JupyterLab
compute-left = Time left
compute-where = Where
compute-where-trays = { $domain }, trays { $trays }
compute-where-many = { $domain }, { $count } trays
compute-where-tray = { $domain }, tray { $tray }
compute-so-far = Charge so far
compute-so-far-value = about { $hours } GPU-hours
compute-held = Set aside at most
compute-free-of-charge = nothing: it makes room for others
compute-server = Jupyter server
compute-server-default = default server
compute-started = Running since
compute-gone = No sign of life for { $age }: its Jupyter server is gone or out of reach. It ends by itself if it stays silent.
compute-idle = Nothing ran for { $idle }. It is taken back after { $limit } without work.
compute-idle-open = Nothing ran for { $idle }.
compute-preempt = Others need its GPUs: it ends in
compute-extend = 1 h more
compute-extend-of = 1 h more for { $name }
compute-end = End
compute-end-of = End { $name }
compute-cancel = Leave the queue
compute-cancel-of = Leave the queue with { $name }
compute-end-sure = End { $name }? Its kernel and its workers stop, and what is only in memory is lost. What was not used goes back to the award.
compute-cancel-sure = Leave the queue with { $name }? Its place is given to others. Nothing is charged.
compute-details = Details
compute-details-of = Details of { $name }
compute-position = Place { $position } in the queue
compute-expected = Expected to start in
compute-expected-unknown = When it starts cannot be foreseen.
compute-workers = { $count } { $count ->
    [one] worker
   *[other] workers
} with { $gpus } GPUs
compute-workers-show = Show its { $count } workers
compute-workers-hide = Hide its workers
compute-worker = Worker
compute-did-end = { $name } is ending. What it did not use goes back to the award.
compute-did-cancel = { $name } has left the queue. Nothing was charged.
compute-did-extend = { $name } got one hour more. It ends at { $at } at the latest.

compute-awards = What is left
compute-awards-none = No award of your projects is valid now, so nobody pays for GPUs.
compute-awards-more = Ask for more
compute-awards-more-of = Ask for more for { $project }
compute-award-left = { $hours } GPU-hours left
compute-award-bar = Used { $used }, set aside { $held }, left { $left } of { $awarded } GPU-hours.
compute-award-used = used
compute-award-held = set aside
compute-award-free = left
compute-award-dry = If use goes on as in the last 14 days, it is used up on { $at }.
compute-award-gone = It is used up.
compute-award-lasts = If use goes on as in the last 14 days, it lasts until its end on { $at }.
compute-award-from = It is valid from { $at } on.
compute-award-past = { $count } { $count ->
    [one] award that is over is
   *[other] awards that are over are
} not shown.

compute-activity = Held and computed on, last 24 hours
compute-activity-none = You held no GPU in the last 24 hours.
compute-activity-unknown = You held { $held } GPU-hours. Nothing of it was measured, so it is not known what computed.
compute-activity-words = You held { $held } GPU-hours and computed on { $busy } of them.
compute-activity-unmeasured = For { $hours } of them nobody measured what the GPUs did.
compute-activity-held = held
compute-activity-busy = computed on
compute-activity-axis = GPUs
compute-activity-at = Hour from
compute-activity-held-hours = Held, GPU-hours
compute-activity-busy-hours = Computed on, GPU-hours

compute-offers = Start now
compute-offers-words = The server itself costs nothing. A lease begins when a GPU kernel starts, and ends with it.
compute-offers-none = Nothing is offered to you.
compute-offers-none-words = You are in no project, or none of them has a profile to start. Ask whoever leads your project to add you.
compute-offer-shape = Shape
compute-offer-gpus = { $gpus } × { $model }, { $time } at first
compute-offer-simulated = { $gpus } × { $model } (simulated), { $time } at first
compute-offer-project = Paid by
compute-offer-free = Free now
compute-offer-wait = Expected wait
compute-offer-wait-none = none
compute-offer-wait-unknown = not foreseeable
compute-offer-price = GPU-hours per hour
compute-offer-start = Start
compute-offer-start-of = Start { $shape }, paid by { $project }
compute-offer-minutes = Start for { $time }
compute-offer-minutes-of = Start { $shape } for { $time }, paid by { $project }
compute-offer-idle = Start on idle GPUs
compute-offer-idle-of = Start { $shape } on idle GPUs, free of charge until others need them
compute-offer-not = Not now
compute-offer-why = Why, and what is possible

compute-led = In my projects
compute-led-project = Project
compute-led-words = Who holds the project’s GPUs now. You answer for it: you may end a lease, and its holder is told who did.
compute-led-none = Nobody holds a GPU of this project now.
compute-led-holder = Holder
compute-led-you = you
compute-led-shape = What
compute-led-idle = Idle for
compute-led-sure = End { $name } of { $holder }? What is only in memory is lost, and { $holder } reads that it was you.
compute-led-did = { $name } of { $holder } is ending. They are told that it was you.
