# Announcements: refusals, and words around them.
announcement-unknown = announcement: there is no announcement { $announcement }, or it is not for you. The list shows those that there are.
announcement-two = programme: an announcement goes to a programme or to one user, not to both. Leave one of them out.
announcement-no-user = user: a message about a lease goes to the user who holds it. Name the user, or leave the lease out.
announcement-no-holder = user “{ $user }” does not hold lease “{ $lease }” now: it ended, or it is somebody else's. Nothing was announced; look who holds it, or leave the lease out.
announcement-dismiss = Dismiss
announcement-info = Note:
announcement-warning = Warning:
announcement-urgent = Urgent:
announcements-title = Announcements
