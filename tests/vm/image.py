"""Disk images of Debian guests with multipathd and an iSCSI target, from Debian packages alone.

`python -m tests.vm.image bookworm` builds one ahead of the tests. An image is never written after it is built:
the guests run on snapshots. It is kept outside the repository, under a name that holds a hash of everything that
goes into it.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BUILD_SECONDS = 900
DISK_MIB = 2048  # sparse: what the guest does not use takes no room
TOOLS = ("mmdebstrap", "mke2fs", "ssh-keygen", *(() if os.geteuid() == 0 else ("newuidmap",)))
GUEST_FILES = Path(__file__).parent / "guest"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = (
    "linux-image-cloud-amd64",  # ext4 and NVMe built in: starts without an initrd
    "systemd-sysv",
    "udev",
    "kmod",
    "dbus",
    "iproute2",
    "dropbear",
    "python3",
    "multipath-tools",
    "dmsetup",
    "open-iscsi",
    "lvm2",
    "etcd-server",
    "openssl",  # makes the certificates of an etcd cluster
)
APT_OPTIONS = (
    'Acquire::Languages "none"',
    'Acquire::Check-Valid-Until "false"',  # old suites stay buildable
)
DPKG_OPTIONS = (
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
)

# Runs outside the new tree, which is $1, as the root of it.
SET_UP = r"""
set -eu
cd "$1"
echo guest > etc/hostname
echo '127.0.0.1 localhost guest' > etc/hosts
# A fixed identity: otherwise every start from the unwritten image is a first start, which is slow.
echo 9f0c4b6a1d2e4f7c8a5b3d6e7f801234 > etc/machine-id
echo 'InitiatorName=iqn.2025-01.test.pathfleet:guest' > etc/iscsi/initiatorname.iscsi
install -D -m 0644 "$GUEST_FILES/multipath.conf" etc/multipath.conf
install -d -m 0755 etc/multipath/conf.d
install -d -m 0700 root/.ssh
printf '%s\n' "$PUBLIC_KEY" > root/.ssh/authorized_keys
# The address that qemu's user network forwards to; no network daemon needed for one card.
cat > etc/udev/rules.d/70-guest-network.rules <<'RULES'
ACTION=="add", SUBSYSTEM=="net", KERNEL=="eth0", \
    RUN+="/sbin/ip address add 10.0.2.15/24 dev eth0", RUN+="/sbin/ip link set eth0 up"
RULES
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer getty@tty1.service serial-getty@ttyS0.service \
    systemd-logind.service systemd-networkd-wait-online.service open-iscsi.service; do
    ln -sf /dev/null "etc/systemd/system/$unit"
done
# Debian starts an etcd of its own at boot, which only a cluster has a use for.
rm -f etc/systemd/system/multi-user.target.wants/etcd.service
rm -rf var/cache/apt/* var/lib/apt/lists/*
cat boot/vmlinuz-* > "$KERNEL"
rm -f boot/vmlinuz-* boot/initrd* boot/System.map-*
"""

# The tree carries mounts (proc, sys, dev) while hooks run: a bind mount that is not recursive shows it without them.
MAKE_DISK = r"""
set -eu
view=$(mktemp -d)
mount --bind "$1" "$view"
mke2fs -q -t ext4 -O ^has_journal -L root -d "$view" "$DISK"
umount "$view"
rmdir "$view"
"""


@dataclass(frozen=True)
class Image:
    """A built image: `disk` is a raw ext4 file system, `key` opens the guest's ssh as root."""

    suite: str
    directory: Path

    @property
    def disk(self) -> Path:
        return self.directory / "root.img"

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def key(self) -> Path:
        return self.directory / "id_ed25519"


class ImageError(Exception):
    """An image could not be built; the message holds the end of the builder's log."""


def missing_tools() -> list[str]:
    """Return the programs that a build needs and this machine lacks."""
    return [tool for tool in TOOLS if not shutil.which(tool, path=_search_path())]


def image(suite: str) -> Image:
    """Return the image of a Debian suite, built first when it is not there. Raises ImageError."""
    directory = cache_directory() / f"{suite}-{_digest()}"
    with lock(directory):
        if not directory.exists():
            _build(suite, directory)
            _prune(suite, directory)
        os.utime(directory)
    return Image(suite, directory)


def _build(suite: str, directory: Path) -> None:
    started = time.monotonic()
    _say(f"building the {suite} guest (about a minute, once)")
    work = Path(tempfile.mkdtemp(prefix=f".{suite}-", dir=directory.parent))
    try:
        unfinished = Image(suite, work)
        _make_key(unfinished)
        _bootstrap(unfinished)
        work.rename(directory)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    real_mib = Image(suite, directory).disk.stat().st_blocks * 512 >> 20
    _say(f"{directory.name}: {real_mib} MiB in {time.monotonic() - started:.0f} s")


def _prune(suite: str, newest: Path) -> None:
    """Remove all but the last used of the suite's older images: two checkouts may take turns."""
    older = (found for found in newest.parent.glob(f"{suite}-*") if found.is_dir() and found != newest)
    for image_directory in sorted(older, key=lambda found: found.stat().st_mtime)[:-1]:
        shutil.rmtree(image_directory, ignore_errors=True)


def _make_key(unfinished: Image) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "guest", "-f", str(unfinished.key)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=30)


def _bootstrap(unfinished: Image) -> None:
    with unfinished.disk.open("wb") as disk, unfinished.kernel.open("wb") as kernel:
        disk.truncate(DISK_MIB << 20)
        # Without root, mmdebstrap works under other user ids, which may reach neither the directory nor
        # the files: it gets them as open descriptors, and anyone may write to them until it is done.
        for output in (disk, kernel):
            os.fchmod(output.fileno(), 0o666)
        outputs = {
            "DISK": f"/proc/self/fd/{disk.fileno()}",
            "KERNEL": f"/proc/self/fd/{kernel.fileno()}",
        }
        _mmdebstrap(unfinished, outputs, (disk.fileno(), kernel.fileno()))
        for output in (disk, kernel):
            os.fchmod(output.fileno(), 0o444)


def _mmdebstrap(unfinished: Image, outputs: dict[str, str], descriptors: tuple[int, ...]) -> None:
    environment = {
        **os.environ,
        **outputs,
        "PATH": _search_path(),
        "GUEST_FILES": str(GUEST_FILES),
        "PUBLIC_KEY": unfinished.key.with_suffix(".pub").read_text().strip(),
    }
    log = unfinished.directory / "build.log"
    with log.open("wb") as output:
        try:
            code = subprocess.run(
                _command(unfinished.suite),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=descriptors,
                timeout=BUILD_SECONDS,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise ImageError(f"{unfinished.suite}: not built within {BUILD_SECONDS} s") from None
    if code:
        tail = log.read_text(errors="replace")[-3000:]
        raise ImageError(f"{unfinished.suite}: mmdebstrap ended with {code}; its log ends:\n{tail}")


def _command(suite: str) -> list[str]:
    return [
        "mmdebstrap",
        "--mode=root" if os.geteuid() == 0 else "--mode=unshare",
        "--variant=minbase",
        "--format=null",
        f"--keyring={KEYRING}",
        f"--include={','.join(PACKAGES)}",
        *(f"--aptopt={option}" for option in APT_OPTIONS),
        *(f"--dpkgopt={option}" for option in DPKG_OPTIONS),
        f"--customize-hook={SET_UP}",
        f"--customize-hook={MAKE_DISK}",
        suite,
        "/dev/null",
        *_mirrors(suite),
    ]


def _mirrors(suite: str) -> list[str]:
    """Return the mirror this machine itself uses; empty (mmdebstrap's own default) when it is not a Debian."""
    release = platform.freedesktop_os_release()
    if release["ID"] != "debian":
        return []
    # Before the first update nothing is known of the origins, only what the sources say.
    for filters in (["Origin: Debian"], ["--no-release-info"]):
        for uri, codename, component in _index_targets(filters):
            if codename == release["VERSION_CODENAME"] and component == "main":
                return [f"deb {uri} {suite} main"]
    return []


def _index_targets(filters: list[str]) -> list[list[str]]:
    fields = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", fields, "Created-By: Packages", *filters]
    listed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    return [line.split() for line in listed.splitlines()]


def _digest() -> str:
    parts = [Path(__file__), GUEST_FILES / "multipath.conf"]
    return hashlib.sha256(b"\0".join(part.read_bytes() for part in parts)).hexdigest()[:12]


def cache_directory() -> Path:
    """Return where built things are kept between runs, outside the repository."""
    named = os.environ.get("PATHFLEET_VM_CACHE")
    cache = Path(named) if named else Path.home() / ".cache/pathfleet/vm"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def _search_path() -> str:
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Let one process at a time build a directory of the cache."""
    with directory.with_name(f"{directory.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(f"vm image: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or ["bookworm"]:
        print(image(name).directory)
