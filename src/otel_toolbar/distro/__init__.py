"""Puts the parts together: distro, configurator, instrumentor and the servers' hooks."""
