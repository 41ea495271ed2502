"""The side of the cluster that reads and decides."""
