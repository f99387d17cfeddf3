"""What stands between JupyterHub and the portal."""
