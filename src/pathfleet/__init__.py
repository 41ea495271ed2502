"""dm-multipath managed for a whole cluster."""

__version__ = "0.1.0"
