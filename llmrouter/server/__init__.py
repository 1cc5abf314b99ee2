"""Runs the service: sockets, worker processes, signals and a clean exit."""
