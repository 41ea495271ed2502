"""TLS: when it is on, what it takes, and how other nodes come to know it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import socket
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest

from pathfleet.cluster.access import digest
from pathfleet.core.node import NodeInfo, Versions
from pathfleet.errors import SettingsError, StoreError
from pathfleet.settings import Settings
from pathfleet.system import certificates
from tests.api.site import SECRET, Site, site

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl (package openssl)")

#: On loopback there is TLS where other nodes are told of the API.
TOLD: dict[str, Any] = {"api_address": "localhost:8440"}


def certificate_of(here: Site, **versions: ssl.TLSVersion) -> bytes:
    """Return what the server shows to a client that takes anything, of these versions."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name, version in versions.items():
        setattr(context, name, version)
    assert here.server.endpoint is not None
    address = (here.server.endpoint.host, here.server.endpoint.port)
    with socket.create_connection(address, 5) as plain, context.wrap_socket(plain) as wrapped:
        found = wrapped.getpeercert(binary_form=True)
    assert found is not None
    return found


async def in_thread(here: Site, **versions: ssl.TLSVersion) -> bytes:

    return await asyncio.to_thread(certificate_of, here, **versions)


async def test_the_certificate_is_made_once_and_its_key_is_nobody_else_s(tmp_path: Path) -> None:
    async with site(directory=tmp_path, **TOLD) as here:
        first = await in_thread(here)
    assert stat.S_IMODE((tmp_path / "api.key").stat().st_mode) == 0o600
    async with site(directory=tmp_path, **TOLD) as here:
        assert await in_thread(here) == first


async def test_a_client_that_knows_the_certificate_is_served(tmp_path: Path) -> None:
    async with site(directory=tmp_path, **TOLD) as here, here.connected() as client:
        assert here.url.startswith("https://")
        response = await client.get("/cluster/status")
    assert response.status_code == 200
    assert "strict-transport-security" not in response.headers


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "pve7.example.org"])
async def test_the_certificate_is_for_every_name_the_api_is_asked_by(tmp_path: Path, host: str) -> None:
    async with site(directory=tmp_path, api_address="pve7.example.org:8440") as here:
        context = ssl.create_default_context(cafile=str(tmp_path / "api.crt"))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        assert here.server.endpoint is not None
        address = (here.server.endpoint.host, here.server.endpoint.port)

        def shake_hands() -> str | None:
            with (
                socket.create_connection(address, 5) as plain,
                context.wrap_socket(plain, server_hostname=host) as wrapped,
            ):
                return wrapped.version()

        assert await asyncio.to_thread(shake_hands) == "TLSv1.3"


async def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path) -> None:
    async with site(directory=tmp_path, **TOLD) as here:
        await in_thread(here, maximum_version=ssl.TLSVersion.TLSv1_2)
        with pytest.warns(DeprecationWarning, match="TLSv1"), pytest.raises(ssl.SSLError):
            await in_thread(here, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)


async def test_without_tls_nothing_is_said_at_a_tls_port(tmp_path: Path) -> None:
    async with site(directory=tmp_path, **TOLD) as here:
        assert here.server.endpoint is not None
        with socket.create_connection((here.server.endpoint.host, here.server.endpoint.port), 5) as plain:
            plain.sendall(b"GET /api2/json/version HTTP/1.1\r\nHost: x\r\n\r\n")
            plain.setblocking(False)

            said = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(plain, 1000), 30)
        assert b"HTTP" not in said


@pytest.mark.parametrize(
    ("settings", "tls"),
    [
        ({"api_listen": "127.0.0.1:8440"}, False),
        ({"api_listen": "127.5.5.5:8440"}, False),
        ({"api_listen": "[::1]:8440"}, False),
        ({"api_listen": "[::1]:8440", "api_address": "[::1]:8440"}, False),
        ({"api_listen": "[::1]:8440", "api_address": "pve7:8440"}, True),
        ({"api_listen": "127.0.0.1:8440", "api_certificate": "/x", "api_key": "/y"}, True),
        ({"api_listen": "0.0.0.0:8440"}, True),
        ({"api_listen": "[::]:8440"}, True),
        ({"api_listen": "192.0.2.1:8440"}, True),
        ({"api_listen": "[::ffff:127.0.0.1]:8440"}, True),
    ],
)
def test_beyond_loopback_there_is_always_tls(settings: dict[str, Any], tls: bool) -> None:
    assert Settings(**settings).api_has_tls is tls


async def test_other_nodes_are_told_the_address_the_fingerprint_and_the_hash_of_the_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with site(directory=tmp_path, **TOLD) as here:
        info = here.server.introduce(NodeInfo("running", 1, Versions()))
        assert info.api == "https://localhost:8440"
        assert info.api_certificate == hashlib.sha256(await in_thread(here)).hexdigest()
        assert info.api_token_hash == digest(SECRET)
    assert f"tls-fingerprint={info.api_certificate}" in caplog.text


async def test_on_loopback_nobody_is_told_an_address(tmp_path: Path) -> None:
    async with site(directory=tmp_path) as here:
        info = here.server.introduce(NodeInfo("running", 1, Versions()))
    assert (info.api, info.api_certificate, info.api_token_hash) == (None, None, digest(SECRET))


async def test_a_certificate_of_one_s_own_is_served(tmp_path: Path) -> None:
    certificate, key = tmp_path / "own.crt", tmp_path / "own.key"
    await certificates.self_signed(certificate, key, ["127.0.0.1"])
    async with site(directory=tmp_path, api_certificate=str(certificate), api_key=str(key)) as here:
        found = hashlib.sha256(await in_thread(here)).hexdigest()
    assert found == certificates.fingerprint(certificate.read_text())
    assert not (tmp_path / "api.crt").exists()


@pytest.mark.parametrize("content", [None, "", "-----BEGIN CERTIFICATE-----\nx", "wrong key"])
async def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    certificate, key, other = tmp_path / "own.crt", tmp_path / "own.key", tmp_path / "other.key"
    await certificates.self_signed(certificate, key, ["127.0.0.1"])
    if content == "wrong key":
        await certificates.self_signed(tmp_path / "other.crt", other, ["127.0.0.1"])
        key = other
    elif content is None:
        certificate.unlink()
    else:
        certificate.write_text(content)
    async with site(directory=tmp_path, api_listen="") as here:
        own = {"api_listen": "127.0.0.1:0", "api_certificate": str(certificate), "api_key": str(key)}
        here.server._settings = Settings(node="a", state_directory=str(tmp_path), **own)
        with pytest.raises(
            SettingsError, match=rf"api-certificate = {certificate} and api-key = {key} cannot be used"
        ):
            await here.server.serve_network()


async def test_a_place_where_none_can_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no certificate can be made in"):
        await certificates.self_signed(tmp_path / "absent/crt", tmp_path / "absent/key", ["localhost"])


def test_the_fingerprint_is_that_of_the_first_certificate_of_a_chain(tmp_path: Path) -> None:

    async def made() -> None:
        for name in ("one", "two"):
            await certificates.self_signed(tmp_path / f"{name}.crt", tmp_path / f"{name}.key", ["localhost"])

    asyncio.run(made())
    one, two = (tmp_path / "one.crt").read_text(), (tmp_path / "two.crt").read_text()
    assert certificates.fingerprint("a remark\n" + one + two) == certificates.fingerprint(one)
    assert certificates.fingerprint(two) != certificates.fingerprint(one)
