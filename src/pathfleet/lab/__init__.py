"""A simulated SAN: arrays, switches and hosts with a multipathd each, on which the real agent runs unchanged.

Nothing here touches a device; nothing outside the command line imports it.
"""
