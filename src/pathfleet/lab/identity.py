"""Names that a SAN gives its things, made from their plain names: the same name has the same WWID on every machine."""

from __future__ import annotations

import hashlib
import re

from pathfleet.errors import SettingsError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_SIZE = re.compile(r"([1-9][0-9]{0,18})([KMGTP]?)(?:iB|B)?")


def _digits(name: str, count: int) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:count]


def lun_wwid(name: str, transport: str) -> str:
    """Return a LUN's WWID as udev gives it: NAA 6 for SCSI, `uuid.…` for NVMe."""
    digits = _digits(f"lun/{name}", 32)
    if transport.startswith("nvme"):
        return "uuid." + "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return f"36{digits[:31]}"


def wwpn(name: str) -> str:
    """Return the WWPN of a Fibre Channel port."""
    return f"0x21{_digits(f'wwpn/{name}', 14)}"


def wwnn(name: str) -> str:
    """Return the WWNN of a Fibre Channel node."""
    return f"0x20{_digits(f'wwnn/{name}', 14)}"


def iqn(name: str) -> str:
    """Return the name of an iSCSI node."""
    return f"iqn.2026-01.org.example:{name}"


def nqn(name: str) -> str:
    """Return the name of an NVMe subsystem."""
    return f"nqn.2026-01.org.example:{name}"


def ip(fabric: int, number: int) -> str:
    """Return the address of the `number`th port in a fabric; a network of its own for each fabric."""
    return f"10.{100 + fabric}.{number // 250}.{number % 250 + 1}"


def size_bytes(text: str) -> int:
    """Return `100G` in bytes; units go by 1024. Raises SettingsError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise SettingsError(f"size = {text!r}: a whole number and K, M, G, T or P, as in 100G")
    size = int(match[1]) * _UNITS[match[2]]
    if size % 512:
        raise SettingsError(f"size = {text!r}: not a multiple of the 512 bytes of a sector")
    return size
