"""The language of multipath.conf(5): read as multipathd reads it, checked, compared."""
