"""Which LUNs a blacklist would hide: its patterns, tried on what LUNs have, and none of them may take for ever."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from pathfleet.core.conf.ere import BadPatternError
from pathfleet.core.conf.search import Searcher
from pathfleet.core.conf.syntax import Assignment, Section, Tree

#: How much work all searching for one answer may be (`Searcher.work`): a second or two. Honest blacklists need far
#: less.
WORK_LIMIT = 3_000_000
EVERYTHING = "everything"
#: A longer WWID is none (multipath-tools, WWID_SIZE); nothing else that is searched is as long.
_TEXT_LIMIT = 127
_SCSI = "every SCSI disk"
_NVME = "every NVMe disk"
_DASD = "every DASD"
#: What a pattern hides that hides all of a kind, by the keyword.
_KINDS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "wwid": {
        EVERYTHING: ("360000000000000000e00000000010001", "eui.0025385b71b00a01", "naa.5000c500a1b2c3d4", "1ATA_disk")
    },
    "devnode": {_SCSI: ("sda", "sdzz"), _NVME: ("nvme0n1", "nvme12n3"), _DASD: ("dasda", "dasdzz")},
    "protocol": {
        _SCSI: ("scsi:fcp", "scsi:iscsi", "scsi:sas", "scsi:srp", "scsi:unspec"),
        _NVME: ("nvme:fc", "nvme:tcp", "nvme:rdma", "nvme:pcie"),
        _DASD: ("ccw",),
    },
}
#: Properties that udev gives every disk, before those that multipathd excepts by itself: one that matches hides it.
_PROPERTIES = ("DEVNAME", "DEVPATH", "DEVTYPE", "ID_SERIAL")
#: Arrays that have nothing in common.
_ARRAYS = ("ACME Disk", "IBM 2145", "NETAPP LUN C-Mode", "3PARdata VV", "dell MD36xxf")

_Verdict = Literal["yes", "no", "unsure"]


class Broad(Struct, frozen=True):
    """A line that hides `what`, in words, or EVERYTHING; only an exception by the keyword `exception` would help."""

    line: Assignment
    what: str
    exception: str


class Hidden(Struct, frozen=True):
    """LUNs that a line of the blacklist hides; with `sure` False, LUNs of which nobody can tell here.

    Of a `device`, its first line stands for all.
    """

    line: Assignment
    wwids: tuple[str, ...]
    sure: bool = True


def hidden(tree: Tree, wwids: Collection[str]) -> Iterator[Hidden]:
    """Yield each `wwid` line of the blacklist that hides some of these LUNs, exceptions considered.

    Lines with a bad pattern are passed over. Where searching has cost too much, the rest of the lines is not judged,
    and the first of them stands for all.
    """
    search = _Search()
    names = tuple(wwids)
    excepted: dict[str, _Verdict] = dict.fromkeys(names, "no")
    for line in _lines(tree, "blacklist_exceptions", "wwid"):
        if search.exhausted:
            excepted = {name: "yes" if verdict == "yes" else "unsure" for name, verdict in excepted.items()}
            break
        for name, verdict in zip(names, search.verdicts(line, names), strict=True):
            if verdict == "yes" or excepted[name] == "no":
                excepted[name] = verdict
    kept = tuple(name for name in names if excepted[name] != "yes")
    for line in _lines(tree, "blacklist", "wwid"):
        if search.exhausted and kept:
            yield Hidden(line, kept, sure=False)
            return
        found: dict[bool, list[str]] = {True: [], False: []}
        for name, verdict in zip(kept, search.verdicts(line, kept), strict=True):
            if verdict != "no":
                found[verdict == "yes" and excepted[name] == "no"].append(name)
        yield from (Hidden(line, tuple(luns), sure) for sure, luns in found.items() if luns)


def hidden_arrays(tree: Tree, arrays: Mapping[str, str]) -> Iterator[Hidden]:
    """Yield each `device` of the blacklist that hides some of these LUNs, exceptions considered.

    `arrays` says by WWID where LUNs come from, as `core.arrays` tells it: vendor and product, or the vendor alone.
    """
    search = _Search()
    names = tuple(dict.fromkeys(arrays.values()))
    exceptions = [search.of_arrays(device, names) for device in _devices(tree, "blacklist_exceptions")]
    excepted = [{verdicts[place] for verdicts in exceptions} for place in range(len(names))]
    for device in _devices(tree, "blacklist"):
        found: dict[bool, set[str]] = {True: set(), False: set()}
        for name, verdict, but in zip(names, search.of_arrays(device, names), excepted, strict=True):
            if verdict != "no" and "yes" not in but:
                found[verdict == "yes" and "unsure" not in but].add(name)
        for sure, hit in found.items():
            if luns := tuple(wwid for wwid, name in arrays.items() if name in hit):
                yield Hidden(device.assignments[0], luns, sure)


def too_broad(tree: Tree, wwids: Collection[str]) -> Iterator[Broad]:
    """Yield the lines that hide everything, or all disks of a kind that some of these LUNs may be of.

    Where something is excepted by the same keyword, or by a `!` from WWIDs or arrays, it is taken for what is meant.
    """
    search = _Search()
    concerned = set(map(_kind, wwids)) or {_SCSI, _NVME}
    for keyword, kinds in _KINDS.items():
        for line in _unexcepted(tree, keyword):
            if keyword == "wwid" and line.value.startswith("!"):
                continue
            hit = [kind for kind, samples in kinds.items() if set(search.verdicts(line, samples)) == {"yes"}]
            whats = [EVERYTHING] if len(hit) == len(kinds) else [kind for kind in hit if kind in concerned]
            yield from (Broad(line, what, keyword) for what in whats)
    for line in _unexcepted(tree, "property"):
        if "yes" in search.verdicts(line, _PROPERTIES):
            yield Broad(line, EVERYTHING, "property")
    if not _devices(tree, "blacklist_exceptions"):
        for device in _devices(tree, "blacklist"):
            inverted = any(line.value.startswith("!") for line in device.assignments)
            if not inverted and set(search.of_arrays(device, _ARRAYS)) == {"yes"}:
                yield Broad(device.assignments[0], EVERYTHING, "device")


def _kind(wwid: str) -> str:
    return _NVME if wwid.startswith(("eui.", "nvme.", "uuid.")) else _DASD if wwid.startswith("IBM.") else _SCSI


def _unexcepted(tree: Tree, keyword: str) -> list[Assignment]:
    return [] if _lines(tree, "blacklist_exceptions", keyword) else _lines(tree, "blacklist", keyword)


def _devices(tree: Tree, name: str) -> list[Section]:
    """Return the devices of a list that say for what they are; multipathd ignores others."""
    sections = [one for section in tree.sections if section.name == name for one in section.sections]
    return [one for one in sections if one.name == "device" and {"vendor", "product"} & _keywords(one)]


def _keywords(section: Section) -> set[str]:
    return {entry.keyword for entry in section.assignments}


def _lines(tree: Tree, name: str, keyword: str) -> list[Assignment]:
    sections = (section for section in tree.sections if section.name == name)
    return [entry for section in sections for entry in section.assignments if entry.keyword == keyword]


class _Search:
    """All searching in one text."""

    def __init__(self) -> None:
        self._work = 0

    @property
    def exhausted(self) -> bool:
        """Whether nothing is searched for any more."""
        return self._work > WORK_LIMIT

    def verdicts(self, line: Assignment, texts: Sequence[str]) -> list[_Verdict]:
        """Return of each text whether the line matches it."""
        inverted = line.value.startswith("!")
        if self.exhausted:
            return ["unsure"] * len(texts)
        try:
            searcher = Searcher(line.value.removeprefix("!"))
        except BadPatternError:
            return ["no"] * len(texts)
        found: list[_Verdict] = []
        for text in texts:
            if not searcher.sure or len(text) > _TEXT_LIMIT or self._work + searcher.work > WORK_LIMIT:
                found.append("unsure")
            else:
                found.append("yes" if searcher.finds(text) != inverted else "no")
        self._work += searcher.work
        return found

    def of_arrays(self, device: Section, arrays: Sequence[str]) -> list[_Verdict]:
        """Return of each array, vendor and product or the vendor alone, whether a `device` is for it."""
        found: list[list[_Verdict]] = [["yes"] * len(arrays)]
        for line in device.assignments:
            if line.keyword == "vendor":
                found.append(self.verdicts(line, [array.partition(" ")[0] for array in arrays]))
            elif line.keyword == "product":
                found.append(self._of_products(line, [array.partition(" ")[2] for array in arrays]))
        return [_all_of(verdicts) for verdicts in zip(*found, strict=True)]

    def _of_products(self, line: Assignment, products: Sequence[str]) -> list[_Verdict]:
        """A product that is not known is matched for sure by what matches any."""
        samples = [array.partition(" ")[2] for array in _ARRAYS]
        unknown = _all_of(self.verdicts(line, samples))
        judged = self.verdicts(line, products)
        return [
            verdict if product else ("yes" if unknown == "yes" else "unsure")
            for product, verdict in zip(products, judged, strict=True)
        ]


def _all_of(verdicts: Collection[_Verdict]) -> _Verdict:
    return "no" if "no" in verdicts else "unsure" if "unsure" in verdicts else "yes"
