# Courses and runs: planning, asking, deciding, rosters.
course-exists = There is a course “{ $course }” already, perhaps one that you do not see. Choose another short name.
course-retired = The course “{ $course }” is retired, so no new runs of it are made. Bring it back on its page (or with `nvlhub course retire --undo`), or use another one.
course-commit = commit: missing. A repository is taught at one commit, so that nothing changes under the learners: give its full hash (`git rev-parse HEAD`).
course-repository = repository: missing. A commit means nothing without the repository that it is in.
course-profile = profile: “{ $profile }” cannot be started here by project “{ $project }”. Choose another one; `nvlhub profile list` shows those of the project.

run-cannot = A run that is { $state } cannot take “{ $action }”. Nothing was changed. `nvlhub course run-show` says how it stands.
run-changed = Run { $run } was changed by somebody else at this moment. Nothing was changed; try again.
run-past = starts: it lies in the past. It is { $now } now; give a time from now on.
run-too-far = starts: it is too far away. The latest possible start is { $latest }.
run-reversed = ends: it must lie after the start, { $starts }.
run-too-long = ends: a run lasts a day at most, here until { $latest }. Make one run for each day.
run-too-short = ends: a run lasts five minutes at least, here until { $earliest }.
run-ends-past = ends: it would lie in the past, it is { $now } now. To end the run now, close it.
run-zone = zone: there is no time zone “{ $given }”. Give one like Asia/Taipei, Europe/Berlin or UTC.
run-gpus-few = gpus: a kernel of “{ $profile }” needs { $least }. Give each seat at least as many, or 0 for seats without GPUs.
run-gpus-trays = gpus: above 4 a seat has whole trays of 4. Give { $below } or { $above }.
run-gpus-approved = gpus: the run was approved with { $gpus } for each seat, and that stays. Cancel it and ask for another one.
run-seats-approved = seats: what was approved has room for { $most }. For more, make a second run, or cancel this one and ask for a larger one.
run-seats-taken = seats: it cannot have only { $seats }: of those above that, { $count } are taken or kept on the roster. Free these first.
run-no-room = There is no room for this run then: it needs { $gpus } GPUs in whole trays, { $most_gpus } could be had in the same time. Nothing was reserved.
    Within 30 days there is no start from which all could be had. Plan fewer seats, smaller seats or a shorter time.
run-no-room-then = There is no room for this run then: it needs { $gpus } GPUs in whole trays, { $most_gpus } could be had in the same time. Nothing was reserved.
    The next start from which all could be had for as long: { $next_start }. Move the run there, or plan fewer or smaller seats.
run-balance = The programme charges the whole slot, which costs { $hold } GPU-h. No award of project “{ $project }” that is valid for all of it has that much: at most { $left } GPU-h are left. Nothing was reserved and nothing set aside.
    Ask for more GPU-hours, or plan fewer or smaller seats or a shorter time.
run-over = Run { $run } is over, or was closed or cancelled, so this cannot be done. Make a new run.
run-begun = The slot of run { $run } has begun, so it cannot be cancelled. Close it: what was kept until now is charged, the rest is given back.
run-not-begun = The slot of run { $run } has not begun, so there is nothing to close. Cancel it: everything is given back.
run-begun-starts = starts: the run has begun, and when it began stays. Its end can be moved.
reservation-of-run = Reservation { $reservation } is kept for run { $run } of a course, and moves with what pays for it. Move or cancel the run instead (`nvlhub course run-change`, `nvlhub course cancel`).
slot-ends = The run that pays for this ends in { $most_seconds }, which is too short for a start. Wait until it is over, or ask the instructor for more time.
extend-slot = Not extended: the run that pays for it ends then. It can be extended by { $most_seconds } more. Ask the instructor to move the end of the run.
correct-free = Lease { $lease } cost nothing by rule, so there is no charge to be put right. Nothing was changed.

roster-refused = The roster stays as it is. Faults in the file: { $total }, each listed with its row. Put them right and send the file again.
roster-encoding = csv: the file is not in UTF-8, nor in UTF-16 with a byte order mark. Save it in the spreadsheet as “CSV UTF-8” and send it again; Big5 and other encodings are not guessed.
roster-unreadable = csv: the file cannot be read as CSV. Perhaps a quotation mark is missing. Save it again as CSV.
roster-too-long = csv: a roster has { $most } rows at most. Nothing was read beyond that. Split the class into several runs.
roster-column-missing = { $field }: the header has no column “{ $field }” and none “{ $other }”. One of them is needed. The columns are: { $columns }.
roster-column-twice = { $field }: the header has this column twice. Leave one.
roster-cells = csv: the row has { $count } cells, the header only { $most }. Perhaps a comma in a name needs quotation marks around it.
roster-long = { $field }: longer than { $most } signs.
roster-signs = { $field }: there is a sign in it that cannot be seen (a line break, a control sign, a mark of direction). Type the cell anew.
roster-name = name_zh: both names are empty. Give one.
roster-nobody = student_no: neither student number nor account is given. One of them is needed, so that results find their way back.
roster-seat = seat: give a number from 1 to { $most }, or leave it empty.
roster-twice = { $field }: the same stands in row { $first } already.

run-time-unreadable = “{ $given }” is no time. Give it as 2027-03-14T09:00 (in { $zone }) or 2027-03-14T09:00+08:00.
run-time-left-out = { $given } does not exist in { $zone }: clocks are put forward over it. Give { $instead }, or a time before.
run-time-twice = { $given } exists twice in { $zone }, because clocks are put back. Give it with its offset: { $first } or { $last }.
class-not-on = You are a member of project “{ $project }” for a class only. Its kernels can be started from { $opens } on, which is in { $wait }, until the class ends. To use the project beyond that, ask those who answer for it.
class-over = You are a member of project “{ $project }” for a class only, and your class is over: nothing more is started there. To use the project beyond that, ask those who answer for it.
class-ends = Your class ends in { $most_seconds }, which is too short for a start. Ask your instructor for more time.
extend-class = Not extended: your class ends then. It can be extended by { $most_seconds } more. Ask your instructor for more time.
guest-not = You are in this project for a class only. Its balance, awards and use are seen by its other members; ask those who answer for it.
