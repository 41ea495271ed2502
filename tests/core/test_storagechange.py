from __future__ import annotations

import pytest

from pathfleet.core import storagecfg, storagechange
from pathfleet.core.property import BadValue
from pathfleet.core.storagechange import Unfit
from pathfleet.errors import BadRequest, NotFound

TEXT = """\
# by hand
dir: local
\tpath /var/lib/vz

multipath: san
\tnodes a,b
\tcontent images

lvm: other
\tvgname taken

"""
LVM = {"vgname": "vms", "base": "san:3600a", "shared": "1"}


def test_a_storage_is_added_as_proxmox_writes_it_and_the_rest_stays() -> None:
    assert storagechange.add(TEXT, "lvm", "vms", LVM) == TEXT + (
        "lvm: vms\n\tvgname vms\n\tbase san:3600a\n\tshared 1\n\n"
    )


@pytest.mark.parametrize(
    ("kind", "name", "properties", "why"),
    [
        ("dir", "more", {}, "type"),
        ("multipath", "-x", {}, "storage"),
        ("multipath", "x\n", {}, "storage"),
        ("multipath", "local", {}, "storage"),
        ("multipath", "more", {"vgname": "a"}, "vgname"),
        ("multipath", "more", {"nodes": "a b"}, "nodes"),
        ("multipath", "more", {"content": "iso"}, "content"),
        ("lvm", "vms", {"base": "san:3600a"}, "vgname"),
        ("lvm", "vms", LVM | {"vgname": "a b"}, "vgname"),
        ("lvm", "vms", LVM | {"base": "local:3600a"}, "base"),
        ("lvm", "vms", LVM | {"base": "nothing"}, "base"),
        ("lvm", "vms", LVM | {"base": "san:a b"}, "wwid"),
        ("lvm", "vms", LVM | {"vgname": "taken"}, "vgname"),
    ],
)
def test_what_cannot_be_added_is_refused_by_parameter(
    kind: str, name: str, properties: dict[str, str], why: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        storagechange.add(TEXT, kind, name, properties)
    assert [*caught.value.errors] == [why]


def test_a_change_touches_only_what_it_names() -> None:
    assert storagechange.change(TEXT, "san", {"disable": "1"}) == TEXT.replace(
        "multipath: san\n", "multipath: san\n\tdisable\n"
    )
    assert storagechange.change(TEXT, "san", {}, ["nodes"]) == TEXT.replace("\tnodes a,b\n", "")


@pytest.mark.parametrize(
    ("name", "values", "delete", "kind"),
    [
        ("nothing", {}, (), NotFound),
        ("local", {"nodes": "a"}, (), Unfit),
        ("san", {"vgname": "x"}, (), BadValue),
        ("san", {"nodes": "a"}, ("nodes",), BadValue),
        ("san", {"saferemove": "1"}, (), Unfit),
    ],
)
def test_what_a_storage_is_made_of_cannot_be_changed(
    name: str, values: dict[str, str], delete: tuple[str, ...], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        storagechange.change(TEXT, name, values, delete)


def test_a_storage_that_is_a_base_stays() -> None:
    both = storagechange.add(TEXT, "lvm", "vms", LVM)
    with pytest.raises(Unfit, match="vms"):
        storagechange.remove(both, "san")
    left = storagechange.remove(storagechange.remove(both, "vms"), "san")
    assert [*storagecfg.parse(left).storages] == ["local", "other"]


def test_a_group_that_another_storage_has_is_told_with_its_name() -> None:
    with pytest.raises(Unfit, match="that of storage other already"):
        storagechange.add(TEXT, "lvm", "vms", LVM | {"vgname": "taken"})


def test_a_storage_of_another_type_is_not_removed() -> None:
    with pytest.raises(Unfit, match="of type dir"):
        storagechange.remove(TEXT, "local")
