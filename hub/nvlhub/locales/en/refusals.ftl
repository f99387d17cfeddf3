# What the dashboards say instead of a screen.
panels-no-portal = The portal does not answer. What runs goes on; this page asks again by itself.
panels-no-answer = The portal did not answer, so it is not known whether that was done. Look here in a minute before you try again.
panels-login-lost = The login was begun in another tab or has taken too long. Open the page again to log in.
panels-broken = This page could not be made. What runs goes on. Load it again in a minute; if it stays like this, tell an administrator.
refusal-title = Not here
