# Servers that run as Slurm jobs: what their users are told while they start, and when they do not.
servers-submitted = Your server is job { $job } of the cluster.
servers-running = Your server has a place on node { $node }; it is starting there.
servers-listening = Your server answers.
servers-away = The cluster does not answer now. The start goes on by itself when it does.
servers-expected = { $why } Expected to start in { $wait }.
servers-no-scheduler = The cluster does not answer, so your server was not started. What runs goes on. Try again in a minute.
servers-no-account-here = Your server was not started: there is no account { $user } on this machine to run it under. Ask whoever runs this portal to make one.
servers-not-root = Your server was not started: { $user } is the machine's administrator, and servers never run as that. Log in with another account.
servers-not-permitted = Your server was not started: the hub may not run jobs as { $user }. Tell whoever runs this portal.
servers-no-tls = Your server was not started: the hub's internal encryption (internal_ssl) does not reach servers on cluster nodes yet. Tell whoever runs this portal.
servers-refused = The cluster took no job for your server. { $why }
servers-refused-account = The cluster took no job for your server: you are in no account of the cluster that may run one. Ask whoever runs this portal to add you.
servers-refused-limit = The cluster took no job for your server: a limit of your account in the cluster is reached. Stop a server or job that you no longer need, or ask whoever runs this portal.
servers-waited = Your server found no place within { $span }, so it was given up. { $why } Try again later.
servers-silent = Your server's job { $job } runs, but within { $span } no server answered there. Try again; if it fails again, tell whoever runs this portal.
servers-ended = Your server's job { $job } ended before the server answered: { $why }. Start it again; if it fails again, tell whoever runs this portal.
servers-ended-log = The end of its log:
