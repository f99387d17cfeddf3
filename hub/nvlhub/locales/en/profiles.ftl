# Profiles: refusals, what is wrong with a draft, and the words of the editor.
profile-not-for = “{ $profile }” was not started: it is not for project “{ $project }”. Choose a profile that the spawn page offers to this project, or ask an administrator to let the project or its programme use it.
profile-draft = version: version { $version } of “{ $profile }” is not the published one, so only administrators may start it. Leave it out to start the published version.
profile-stale = “{ $profile }” has got version { $version } by { $made_by } since you read it; nothing of yours was stored, and nothing of theirs was lost. The list “diff” says what they changed: compare, then send yours with the present ETag.
profile-no-earlier = There is no version of “{ $profile }” that was published before, so there is nothing to go back to. Publish the version that you want.
profile-published-other = published: version { $version } of “{ $profile }” is published now, not { $given }: somebody has published or rolled back meanwhile. Nothing was changed. Read it again.
profile-one-draft = Send the draft once: as “fields” or as “yaml”.
profile-too-large = The profile is larger than { $most } bytes and was not read. Say less.
profile-shape = Line { $line }: this is no profile. A profile is one mapping of keys to values, as in docs/profiles.md.
profile-key-unknown = There is no key { $names } here. The keys are: { $known }.
profile-key-twice = { $names } stands twice here. Let it stand once.
profile-mapping = { $field }: names with values are wanted here, like “NAME: value”, one a line.
profile-list = { $field }: a list of short names is wanted here, like [physics, ai].
profile-single = { $field }: a single value is wanted here.
profile-missing = { $field }: it is missing; every profile needs it.
profile-line = “{ $given }”: a line is wanted like NAME=value.
profile-hint-line = “{ $given }”: a line is wanted like slurm.partition=gb300: the engine, a dot, the name.
profile-hint-value = { $field }: a hint has a name of letters, digits, - and _, and is true, false, a number, or one line of at most 200 characters without <, > and &.
profile-signs-name = { $field }: a short name is 1 to 40 of a-z, 0-9 and inner hyphens.
profile-signs-variable = { $field }: a variable has a name of A-Z, 0-9 and _ that does not begin with a digit, and a value of one line.
profile-signs-text = { $field }: it has signs that cannot stand there: line breaks, <, >, &, or something invisible.
profile-variable-reserved = { $name } cannot be set by a profile: it decides which code runs, as whom, or on which GPUs. Leave it out.

trial-mailbox = A mailbox for the node agent is open at { $address }.
trial-asked = The lease { $lease } is asked for: { $gpus } × GPU, at most { $hours } GPU-hours.
trial-waiting = There is no room now; the lease waits in the queue.
trial-placed = There is room: { $where }.
trial-hello = The node agent answers from { $host }.
trial-ran = A small Python task ran and found: { $devices }.
trial-none = no GPU
trial-back = The lease is given back.
trial-charged = The test cost project { $project } { $charged } GPU-hours: { $gpus } × GPU for { $seconds } s.
trial-silent = Nothing was heard of the node agent for { $seconds } s. Its log is in the portal's data directory; the lease was given back.
trial-ended = The lease ended: { $detail }
trial-failed = The task ended with status { $rc }: { $tail }
trial-devices = The task sees other GPUs than the lease has: { $devices }.
trial-stopped = The test was stopped.
