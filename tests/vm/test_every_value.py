"""Every value that a property may have, as a real multipath reads and prints it: none of them looks like drift."""

import io
import tarfile

from pathfleet.core import drift, maps, schema
from pathfleet.core.configuration import Configuration
from pathfleet.core.property import Property
from pathfleet.core.render import DropIns, render
from tests.vm.machine import Machine
from tests.vm.reading import lun

#: Of what is no word and no number.
TEXTS = {
    "alias": ["db"],
    "features": ["0", "1 queue_if_no_path", "3 queue_if_no_path queue_mode bio", "2 pg_init_retries 50"],
    "prio-args": ["exclusive_pref_bit", "io_num=20 base_num=10"],
    "reservation-key": ["0x1", "0xABCDEF0123456789", "0x5:aptpl", "file"],
    "mode": ["0660", "0000", "0777"],
}
#: Reads each file in turn in place of our own drop-in, and prints all that multipath then goes by.
READ_EACH = """
cd $(mktemp -d) && tar x
for file in *; do
    cp $file /etc/multipath/conf.d/zz-pathfleet-10-baseline.conf
    timeout 20 multipath -t 2> /dev/null > printed && mv printed $file
done
rm /etc/multipath/conf.d/zz-pathfleet-10-baseline.conf
tar c *
"""


def test_what_multipath_prints_of_any_value_is_no_difference(machine: Machine) -> None:
    version = maps.version_in(machine.run("ask help").stdout)
    most = max(len(values(row)) for row in schema.PROPERTIES)
    written = {f"{turn:02}": render(configuration(turn), "", "0", version=version) for turn in range(most)}
    printed = machine.run(READ_EACH, stdin=packed(written), deadline=120).stdout
    with tarfile.open(fileobj=io.BytesIO(printed)) as archive:
        for name, drop_ins in written.items():
            file = archive.extractfile(name)
            assert file is not None
            assert drift.differences(drop_ins, file.read().decode()) == []


def values(row: Property) -> list[str]:
    """Return every word, the least number, the next one, one in the middle and the greatest."""
    if row.fixed is not None:
        return [row.fixed]
    numbers = []
    if row.minimum is not None and row.maximum is not None:
        numbers = [row.minimum, row.minimum + 1, (row.minimum + row.maximum) // 2, row.maximum]
    return TEXTS.get(row.name) or [*row.words, *map(str, numbers)]


def configuration(turn: int) -> Configuration:
    """Return a configuration with all properties, each with the value whose turn it is."""
    defaults = {row.name: values(row)[turn % len(values(row))] for row in schema.PROPERTIES if row.in_defaults}
    of_lun = {row.name: values(row)[(turn + 1) % len(values(row))] for row in schema.PROPERTIES if row.in_wwid}
    longest = max(int(defaults["polling-interval"]), int(defaults["max-polling-interval"]))
    return Configuration({**defaults, "max-polling-interval": str(longest)}, {lun(0): of_lun}, has_defaults=True)


def packed(written: dict[str, DropIns]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, drop_ins in written.items():
            content = (drop_ins.baseline or "").encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
