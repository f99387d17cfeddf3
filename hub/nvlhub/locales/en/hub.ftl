# JupyterHub's own pages, and what the portal tells them.
hub-skip = Skip to the content
hub-nav = Pages
hub-nav-toggle = Show the menu
hub-home = Home
hub-tokens = Tokens
hub-admin = Admin
hub-services = More services
hub-dark = Light or dark
hub-log-in = Log in
hub-log-out = Log out
hub-logo = Home
hub-noscript = This page needs JavaScript to start servers. The portal's page shows your leases and awards without it.
hub-plain = My GPUs, without JavaScript
hub-error = Error
hub-close = Close
hub-ok = OK

hub-login-title = Log in
hub-login-with = Log in with { $service }
hub-login-user = User name
hub-login-password = Password
hub-login-show = Show password
hub-login-hide = Hide password
hub-login-insecure = This page came over an unencrypted connection: others may read what you type. Use HTTPS for all but trials.
hub-login-wrong = User name or password is wrong. Check both and try again; whoever runs this portal can set a new password.
hub-login-terms = By logging in you accept the terms of use:
hub-terms = terms of use

hub-home-title = My server and my GPUs
hub-server = My server
hub-server-on = Your server runs. It runs on CPUs and costs nothing; GPUs belong to the kernels that you open in it.
hub-server-off = Your server does not run. It runs on CPUs and costs nothing; GPUs belong to the kernels that you open in it.
hub-server-start = Start my server
hub-server-open = Open my server
hub-server-stop = Stop my server
hub-server-stopping = Your server is stopping.
hub-servers = Servers with names
hub-servers-how = You may have more than one server at a time; each has a name.
hub-servers-most = You may have { $most } servers with names beside your own.
hub-servers-names = These names are not allowed any more: { $names }. Make servers with names of a-z, 0-9 and hyphens instead.
hub-server-name = Name
hub-server-address = Address
hub-server-active = Last active
hub-server-do = Actions
hub-server-new = Add a server
hub-server-new-name = name-of-the-server
hub-server-delete = Delete
hub-start = Start
hub-stop = Stop
hub-never = never
hub-gpus = My GPUs now
hub-asking = Asking the portal …
hub-away = The portal that hands out GPUs does not answer now. Your server, your notebooks and what computes go on; this page asks again by itself.
hub-stale = The portal does not answer now; this is from { $age } ago.
hub-more-leases = { $more } more on “My compute”.
hub-left = { $left } GPU-hours left in { $projects } { $projects ->
        [1] project
       *[other] projects
    }
hub-left-none = None of your projects has GPU-hours left.

hub-spawn-title = Start my server
hub-spawn-for = This is the server of { $user }.
hub-spawn-start = Start
hub-spawn-error = The server was not started.
offers-title = GPUs that you can use in it
offers-project = Project that pays
offers-all = all projects
offers-shown = Offers shown: { $count }
offers-free = { $count } can start now
offers-price = { $price ->
        [1] 1 GPU-hour per hour
       *[other] { $price } GPU-hours per hour
    }
offers-longest = { $span } at first, can be extended
offers-idle = given back after { $span } without use
offers-simulated = simulated
offers-gpus = { $gpus ->
        [1] 1 GPU ({ $model })
       *[other] { $gpus } GPUs ({ $model })
    }
offers-as-of = Free GPUs as of { $age } ago.

hub-pending-title = Your server is starting
hub-pending-how = You are taken there when it is ready.
hub-progress = Progress of the start
hub-log = What happened so far
hub-stop-failed = The server could not be stopped. Try again in a minute.
hub-stopped = The server is stopped.
hub-stopping = Stopping …
hub-not-running = The server does not run
hub-not-running-how = Start it to go on; notebooks and files are as you left them.
hub-not-running-soon = It is started again in { $seconds } seconds. If nothing happens, press the button.
hub-failed = The server did not start
hub-failed-how = The last try to start the server failed. Try once more; if it fails again, tell whoever runs this portal what stands here.
hub-named = Server: { $name }
hub-start-again = Start again
hub-stop-pending = Your server is stopping
hub-stop-pending-how = You can start it again when it has stopped. This page looks again by itself.
hub-look-again = Look again
hub-logged-out = You are logged out
hub-logged-out-how = Servers and what computes go on. Kernels that you no longer need can be given back on “My GPUs”.
hub-404 = There is no such page
hub-404-how = The address may be mistyped, or what it led to is gone. Go home and choose from the menu.
hub-403 = This is not for your account
hub-403-how = If it should be, ask whoever runs this portal; give the address of this page.
hub-500 = Something went wrong here
hub-500-how = Try again in a minute. If it stays like this, tell whoever runs this portal what stands here.
hub-503 = Not reachable now
hub-503-how = What you asked for does not answer. Try again in a minute; your files are safe.
hub-go-home = Go home

hub-token-title = Tokens
hub-token-note = Note
hub-token-note-how = Reminds you later what the token is for.
hub-token-expires = Valid for
hub-token-expires-how = After that it opens nothing any more.
hub-token-scopes = Rights
hub-token-scopes-how = What the token may do: JupyterHub scopes with spaces between. Empty: everything that you may do.
hub-token-scopes-all = All scopes, in JupyterHub's documentation
hub-token-make = Make a token
hub-token-new = Your new token
hub-token-copy = Copy it now: it is not shown again. You can make another at any time.
hub-token-list = Tokens that you have
hub-token-list-how = Each of them opens JupyterHub's and the portal's interface in your name. A server whose token is taken away must be started again.
hub-token-used = Last used
hub-token-made = Made
hub-token-ends = Valid until
hub-token-revoke = Take away
hub-token-apps = Applications that know you
hub-token-apps-how = They were let in by JupyterHub to know who you are, most of them servers.
hub-token-app = Application
hub-token-first = First let in
hub-token-expiry-hour = 1 hour
hub-token-expiry-day = 1 day
hub-token-expiry-week = 1 week
hub-token-expiry-month = 1 month
hub-token-expiry-year = 1 year
hub-token-expiry-never = without end
