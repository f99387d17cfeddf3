# Sentences of refusals and bad input. Each says what happened, why, and what to do next.
duration-hours = { $n } h
duration-minutes = { $n } min
duration-seconds = { $n } s

allowed-start = { $gpus } × GPU for { $time }
allowed-or = { "" } or { "" }
allowed-nothing = nothing for now

refusal-asked = Asked: { $gpus } × GPU for { $seconds }, which would hold { $hold } GPU-hours.

balance-too-low = “{ $profile }” was not started: project “{ $project }” has too few GPU-hours left.
    Asked: { $gpus } × GPU for { $seconds } = a hold of { $hold } GPU-hours.
    Left: { $left } GPU-hours.
    Allowed now: { $allowed }.
    Ask for more: { $more }
balance-changed = The GPU-hours were taken by another start at the same moment, so nothing was started. Try again; what is left is on your portal page.
no-award = “{ $profile }” was not started: project “{ $project }” has no award that is valid now, so nobody would pay.
    Asked: { $gpus } × GPU for { $seconds } = a hold of { $hold } GPU-hours.
    Ask for an award: { $more }
award-ends-first = “{ $profile }” was not started: the award of project “{ $project }” ends in { $ends_in }, before the { $seconds } that were asked for.
    It would hold { $hold } GPU-hours; { $left } are left.
    Ask for a shorter time, or for an extension of the award: { $more }
cap-member = “{ $profile }” was not started: you may hold { $cap } GPUs at once in project “{ $project }”, and hold { $in_use } now.
    Asked: { $gpus } × GPU for { $seconds } = a hold of { $hold } GPU-hours; { $left } are left.
    Allowed now: { $allowed }. Shut down a GPU kernel you do not need, or ask for a higher cap: { $more }
cap-project = “{ $profile }” was not started: project “{ $project }” may hold { $cap } GPUs at once, and holds { $in_use } now.
    Asked: { $gpus } × GPU for { $seconds } = a hold of { $hold } GPU-hours; { $left } are left.
    Allowed now: { $allowed }. Wait until one of the project's kernels ends, or ask for a higher cap: { $more }
cap-programme = “{ $profile }” was not started: the programme of project “{ $project }” may hold { $cap } GPUs at once, and { $in_use } are held now.
    Asked: { $gpus } × GPU for { $seconds } = a hold of { $hold } GPU-hours; { $left } are left.
    Allowed now: { $allowed }. Try again later, or ask: { $more }
cap-award = “{ $profile }” was not started: the award of project “{ $project }” allows { $cap } GPUs at once, and { $in_use } are held now.
    Asked: { $gpus } × GPU for { $seconds } = a hold of { $hold } GPU-hours; { $left } are left.
    Allowed now: { $allowed }. Shut down a GPU kernel you do not need, or ask for a higher cap: { $more }
never-fit-domain = workers: { $count } × { $gpus } GPU can never be placed in NVLink domain “{ $where }” at once; { $largest_count } can, beside what you hold there.
    Nothing was started. Ask for at most { $largest_count } more, or let them be placed in other domains, too: span="fabric".
never-fit-pool = workers: { $count } × { $gpus } GPU can never be placed in pool “{ $where }” at once; { $largest_count } can, beside what you hold there.
    Nothing was started. Ask for at most { $largest_count } more.
no-room = There is no room for another { $gpus } × GPU now, and it was asked for without waiting. Nothing was started.
parent-of-worker = parent: only a worker can belong to a kernel's lease. Leave it out, or ask with kind "worker".
parent-cannot = parent: the lease “{ $lease }” is ending or is itself a worker's, so no worker can belong to it. Nothing was started.
never-fits = “{ $profile }” was not started: { $gpus } GPUs can never be placed together on what is in service now.
    Choose a smaller profile, or ask when the capacity returns: { $more }

gpus-out-of-range = gpus: { $given } is not possible; between { $least } and { $most } GPUs can be asked for here.
gpus-not-whole-trays = gpus: { $given } is not possible; above 4 GPUs only whole trays are leased: ask for { $below } or { $above }.
gpus-above-profile = gpus: { $given } is more than “{ $profile }” has; ask for 1 to { $most }, or choose a larger profile.
seconds-out-of-range = seconds: { $given } is not possible for “{ $profile }”; between { $least } and { $most } seconds can be asked for.
invalid-input = { $field }: { $allowed_text }
mailbox-missing = mailbox: it is missing. The node agent of a lease dials back to it: send address, public_key and token (the notebook side does).
not-json = body: this is not JSON. Send a JSON object with Content-Type: application/json.
extend-overtaken = The lease “{ $lease }” was extended by another request at the same moment, and both together are more than profile and award allow. Nothing was added by this one; look at the time left and ask again.
key-missing = Header Idempotency-Key: it is missing or not 1 to 80 printable ASCII characters. Send one, made afresh for each request; then nothing is done twice when it is sent again.
key-reused = Header Idempotency-Key: it was used before for a different request. Nothing was started; use a new key.
body-too-large = The request is larger than { $most } bytes and was not read. Send less.
page-out-of-range = { $field }: { $given } is not possible; between { $least } and { $most }.

project-unknown = project: there is no project “{ $project }”, or you are no member of it. Your projects are on your portal page.
project-exists = project: there is already a project “{ $project }”. Choose another short name.
programme-unknown = programme: there is no programme “{ $programme }”, or it is not yours to see.
programme-exists = programme: there is already a programme “{ $programme }”.
profile-unknown = profile: there is no published profile “{ $profile }”. The spawn page and `nvlhub profile list` show what there is.
pool-unknown = pool: there is no pool “{ $pool }”.
domain-unknown = domain: there is no domain or tray “{ $domain }” in this pool.
award-unknown = award: there is no award “{ $award }”, or it is not yours to see.
lease-unknown = There is no lease “{ $lease }”, or it is not yours. Your leases are on your portal page.
lease-over = The lease “{ $lease }” has ended already; nothing was changed.
lease-cannot = The lease “{ $lease }” is { $state } and cannot do that now; nothing was changed.
dates-reversed = ends: it must lie after starts.
award-amount = gpu_hours: between 1 and 10,000,000,000 can be awarded at once.

login-needed = You are not logged in, or your token has expired. Log in again, or make a new token on the hub's token page.
not-allowed = Your account may not do this. An administrator of the portal can.
foreign-origin = The request came from another site's page and was refused. Open the portal's own page and try again.
method-not-allowed = This address does not take { $method } requests.
not-found = There is nothing at this address.
too-many-requests = Too many requests came from you in a short time, so this one was not looked at and nothing was changed. Wait { $wait }, then send it again.
portal-failed = The portal could not do that just now; nothing was charged. Try again in a minute; if it goes on, tell an administrator.
portal-busy = The portal did not answer in time; nothing was charged. Try again.

deadline-near = This lease ends in { $seconds }. Save your work, or extend it: nvlkernels.lease().extend(minutes=60).
idle-near = Nothing has run for a while: this lease is given back in { $seconds } unless you use it.

end-user = given back
end-deadline = its time was over
end-idle = nothing had run for the profile's idle time
end-preempted = others needed the GPUs, and it had to make room
end-engine = the machine failed; the time was refunded { $note }
end-admin = an administrator ended it
end-lost = it was silent for longer than the grace time
waiting-for-room = Waiting for room.
waiting-outside = { $count ->
    [one] One job outside the portal waits
   *[other] { $count } jobs outside the portal wait
} in the cluster's queue, too; the expected start does not count { $count ->
    [one] it
   *[other] them
}.

extend-too-long = seconds: { $given } is too much; this lease can be extended by { $most_seconds } more. Start a new one after it.
extend-balance = Not extended: it would hold { $hold } more GPU-hours, and the award of project “{ $project }” has { $left } left. The lease goes on until its deadline. Ask for more: { $more }
extend-award-ends = Not extended: the award of project “{ $project }” ends in { $ends_in }. The lease goes on until its deadline. Ask for an extension of the award: { $more }

user-unknown = user: nobody is known by the name “{ $user }”. People are known once they have logged in; an administrator can add them before: nvlhub user add NAME.
institution-unknown = institution: there is no institution “{ $institution }”. An administrator can add it.
institution-exists = institution: there is already an institution “{ $institution }”. Choose another short name.
member-unknown = user: “{ $user }” is no member of project “{ $project }”; nothing was changed.
last-pi = role: project “{ $project }” would have nobody left who answers for it. Make somebody else pi first.
pool-exists = pool: there is already a pool “{ $pool }”.
pool-not-here = pool: no engine of this portal runs pool “{ $pool }”, so nothing can be started there.
request-unknown = request: there is no request “{ $request }”, or it is not yours to see.
dates-past = { $field }: it lies in the past. Give a time from now on, as Unix seconds.
budget-below-awarded = gpu_hours: programme “{ $programme }” has awarded { $awarded } GPU-hours already; its budget cannot be smaller. Awards that expire or are revoked come back to it.
budget-too-small = gpu_hours: programme “{ $programme }” can award { $left } more GPU-hours in pool “{ $pool }”, and { $awarded } were to be awarded. Nothing was awarded. Award less, or ask an administrator for a larger budget.
award-over = The award { $award } has expired or was revoked, so it cannot be changed any more; nothing was changed. Ask for a renewal.
award-ends-before-leases = ends: { $count } leases that run on award { $award } are paid until after that time; nothing was changed. Choose a later end, or end the leases first.
award-of-other = award: “{ $award }” is no award of project “{ $project }”.
request-cannot = A request that is { $state } cannot be changed by “{ $action }”; nothing was changed.
request-needs = { $field }: a request of kind “{ $kind }” needs it.
request-has-not = { $field }: a request of kind “{ $kind }” does not have it; leave it out.
request-project = project: this request belongs to project “{ $project }”; make another one for another project.
transfer-same-pool = pool: the award is in pool “{ $pool }” already; name the pool that the GPU-hours are to go to.
transfer-balance = gpu_hours: award { $award } has { $left } GPU-hours left, and { $awarded } were to go elsewhere. Nothing was moved.
extension-not-later = ends: it must lie after the present end of the award.
review-no-amount = gpu_hours: it goes with an approval of a request that asks for GPU-hours, and with nothing else.
review-too-much = gpu_hours: { $given } is more than was asked for; between 1 and { $most } can be awarded. For more, ask the project for a revision.
decision-own = You asked for this, or are a member of project “{ $project }”, so somebody else has to decide. Nothing was changed.
match-missing = Header If-Match: it is missing. Read the present state first and send its ETag, so that nobody else's change is lost.
match-stale = Somebody else has changed this since you read it; nothing was changed. Read it again, and send your change with the new ETag.
correct-nothing = gpu_seconds: it must not be 0. Positive charges more, negative gives back.
correct-unsettled = lease: only a settled lease can be corrected; “{ $lease }” is not. Nothing was changed.
correct-too-much = gpu_seconds: lease “{ $lease }” was charged { $charged } GPU-hours, and no more can be given back. Nothing was changed.
since-future = { $field }: { $given } lies in the future. Give a time up to { $most }, as Unix seconds; left out, the last 24 hours are compared.
engine-records = Engine “{ $engine }” cannot tell now what it ran, so nothing was compared and nothing was changed. Try again in a minute; if it goes on, the portal's log says why.
difference-unknown = difference: there is no difference “{ $difference }”. `nvlhub ledger differences --state all` lists them.
difference-closed = Difference { $difference } was closed before by { $closed_by }; nothing was changed.
difference-running = action: lease “{ $lease }” still runs at the engine, so nobody knows yet what it used. End it there, reconcile again, then decide. Nothing was changed.
difference-no-lease = action: no lease stands behind difference { $difference }, so there is nobody to charge. Find out what ran there, then accept it with what you found as the reason. Nothing was changed.
difference-balance = action: the award of lease “{ $lease }” has not { $held } more GPU-hours left to be charged. Nothing was changed and the difference stays open. Supplement the award, or accept the difference.
correct-balance = gpu_seconds: the award of lease “{ $lease }” has not { $held } more GPU-hours left to be charged. Nothing was changed.
cap-user = “{ $profile }” was not started: you may hold { $cap } GPUs at once in all your projects together, and hold { $in_use } now.
    Asked: { $gpus } × GPU for { $seconds } = a hold of { $hold } GPU-hours; { $left } are left.
    Allowed now: { $allowed }. Shut down a GPU kernel you do not need, or ask for a higher cap: { $more }
whole-number = { $field }: a whole number is wanted, in digits without signs.
day-wanted = { $field }: a day is wanted, as YYYY-MM-DD.

# Files: import and export.
import-refused = Nothing was imported; errors found: { $total }. The list “errors” names row, column and reason of each; put them right and send the whole file again.
import-kind-needed = kind: a CSV file holds one kind of rows; say which: { $known }.
import-kind-surplus = kind: a YAML file says itself what it holds; leave kind out.
import-encoding = The file is not UTF-8: line { $line } holds other bytes. Save it as UTF-8 (spreadsheets call it “CSV UTF-8”) and send it again.
import-syntax = The file is no { $form }: line { $line }: { $why }. Put it right and send the file again.
import-shape = This is not how rows are written. A YAML file is one mapping of kinds to lists of rows, and a row is a mapping of columns to single values.
import-alias = Line { $line }: anchors, aliases and tags are not read. Write the values out.
import-too-many = The file has more than { $most } rows, and nothing after them was read. Send it in several files, what others need first.
import-kind-unknown = There is nothing called { $names } to import. What there is: { $known }.
import-column-unknown = There is no column { $names } here. The columns are: { $known }.
import-column-missing = The column { $names } is missing. The columns are: { $known }.
import-column-twice = { $names } stands twice. Each name stands once: { $known }.
import-cells = The row has { $given } cells and the header { $wanted }. A text with a comma in it stands in double quotes.
import-missing = { $field }: it is missing; every row of this kind needs it.
import-signs = { $field }: it has signs that cannot stand there. A short name is 1 to 40 of a-z, 0-9 and inner hyphens; other texts have no line breaks, no <, > and &, and nothing invisible.
import-not-whole = { $field }: this is no whole number in digits, like 12.
import-not-time = { $field }: this is no time. Give a day as YYYY-MM-DD (UTC), or Unix seconds.
import-not-flag = { $field }: this is neither true nor false.
import-row-twice = Row { $first } of the file is about the same thing already. Keep one of the two.
import-fixed = { $field }: it is “{ $there }” and never changes; the file says “{ $given }”. Take over what is there, or leave the row out.
pool-run-here = name: “{ $pool }” is run by this portal's engine, whose settings say what it is; a file cannot change that. Take over what `nvlhub pool list` shows, or leave the row out.
award-empty = gpu_hours: a new award must award something.
row-refused = The database does not take this row beside what there is now. Compare it with an export, and try again.
preemptible-off = “{ $profile }” cannot be pre-emptible: the programme of project “{ $project }” does not allow that. Nothing was changed. Start it as usual, with a hold, or ask an officer of the programme for low-priority use.
low-priority = It can be started pre-emptible instead: that costs nothing and counts against no cap, but ends as soon as others need the GPUs. Choose the kernel named “…, pre-emptible”; for workers: Cluster(preemptible=True).
preempt-near = Others need these GPUs, and this lease is pre-emptible: it ends in { $seconds }. Save your work now. If they are no longer needed, it goes on.
supply-too-large = gpu_hours: all programmes together can be granted at most { $awarded } GPU-hours of pool “{ $pool }”. Nothing was changed. Grant less.
preemptible-unneeded = “{ $profile }” was not started pre-emptible: project “{ $project }” can pay for it, and no cap stands in the way. Start it as usual; low-priority use is for what is over the balance or a cap.
