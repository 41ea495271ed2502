"""A proposal joined to the configuration that the cluster has already, which has the last word."""

from __future__ import annotations

from collections.abc import Mapping

from pathfleet.core import configuration, schema
from pathfleet.core.configuration import Configuration
from pathfleet.core.property import BadValue
from pathfleet.core.proposal import Left, Proposal

_CLUSTER = "the cluster"
#: In this order, a property comes before the one that must not be less than it.
_PLACES = {row.name: place for place, row in enumerate(schema.PROPERTIES)}


def merge(proposal: Proposal, there: Configuration, overrides: str) -> Proposal:
    """Return what a proposal adds to a configuration that is there, which has the last word where they differ."""
    left = list(proposal.left)
    defaults = _defaults(proposal.defaults, there.defaults, left)
    names = {properties["alias"]: wwid for wwid, properties in there.wwids.items() if "alias" in properties}
    names |= {wwid: wwid for wwid in there.wwids}
    wwids = {
        wwid: _lun(wwid, properties, there.wwids.get(wwid, {}), names, left)
        for wwid, properties in proposal.wwids.items()
    }
    if overrides and proposal.overrides and overrides != proposal.overrides:
        left.append(_kept("the overrides that these files make", "overrides of its own"))
    return Proposal(defaults, wwids, overrides or proposal.overrides, tuple(left))


def _defaults(proposed: Mapping[str, str], there: Mapping[str, str], left: list[Left]) -> dict[str, str]:
    added: dict[str, str] = {}
    for name in sorted(proposed, key=_PLACES.__getitem__):
        value = proposed[name]
        if value != there.get(name, value):
            left.append(_kept(f"{name} {value!r}", repr(there[name])))
        elif name not in there:
            try:
                schema.check_together({**there, **added, name: value}, {name})
            except BadValue as error:
                left.append(Left(_CLUSTER, None, f"{name} {value!r}", str(error)))
            else:
                added[name] = value
    return added


def _lun(
    wwid: str, proposed: Mapping[str, str], there: Mapping[str, str], names: Mapping[str, str], left: list[Left]
) -> dict[str, str]:
    added: dict[str, str] = {}
    for name, value in proposed.items():
        if name in there:
            if value != there[name]:
                left.append(_kept(f"{name} {value!r} of LUN {wwid}", repr(there[name])))
        elif name == "alias" and names.get(value, wwid) != wwid:
            left.append(_kept(f"alias {value!r} of LUN {wwid}", f"this name for LUN {names[value]}"))
        else:
            added[name] = value
    return added


def _kept(what: str, ours: str) -> Left:
    return Left(_CLUSTER, None, what, f"it has {ours} already, which stays")


def text(merged: Proposal, there: str) -> str:
    """Return the text of multipath.cfg with what a merged proposal adds to it."""
    if merged.defaults:
        there = configuration.set_defaults(there, merged.defaults)
    known = configuration.parse(there).wwids
    for wwid in merged.wwids.keys() & known.keys():
        if merged.wwids[wwid]:
            there = configuration.set_wwid(there, wwid, merged.wwids[wwid])
    fresh = [wwid for wwid in merged.wwids if wwid not in known]
    for wwid in fresh[:1]:
        there = configuration.add_wwid(there, wwid, merged.wwids[wwid])
    # each as a text of its own: thousands of LUNs, and adding reads the whole text again
    return there + "".join(configuration.add_wwid("", wwid, merged.wwids[wwid]) for wwid in fresh[1:])


def renames(proposal: Proposal, names: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return, of LUNs that have a map under the name in `names`, those that get another: the old and the new name."""
    changed = {}
    for wwid, properties in proposal.wwids.items():
        name, alias = names.get(wwid), properties.get("alias", wwid)
        if name is not None and name != alias:
            changed[wwid] = (name, alias)
    return changed
