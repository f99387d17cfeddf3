"""The dashboards: a Panel service behind the hub, and a client of the portal's REST API with the visitor's own token."""
