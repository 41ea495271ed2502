from __future__ import annotations

from hypothesis import settings

# On a machine that others use too, one example may take long for no reason of its own.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
