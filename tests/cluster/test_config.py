from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.cluster import config, preview
from pathfleet.cluster.config import BadOverrides, Current
from pathfleet.core import configuration, node, roll, wire
from pathfleet.core.property import BadValue
from pathfleet.errors import BadRequest, Busy, Conflict, NotFound, StoreUnavailable, ValueTooBig
from pathfleet.store import File
from tests.fakes import Memory, MemoryStore

LUN = "3600a098038314c6c6e3f4b6f4c6c5a30"
OTHER = "3600a098038314c6c6e3f4b6f4c6c5a31"
CFG = f"defaults: defaults\n\tno-path-retry 12\n\nwwid: {LUN}\n\talias db\n\n"
OVERRIDES = 'blacklist {\n\tdevnode "^sda$"\n}\n'
STORAGE = (
    f"multipath: san\n\tcontent none\n\nlvm: vg1\n\tvgname vg1\n\tbase san:{LUN}\n\nlvm: vg2\n\tdisable\n"
    f"\tvgname vg2\n\tbase san:{LUN}\n\n"
)


@pytest.fixture
def memory() -> Memory:
    return Memory(
        files={
            configuration.FILE: File(CFG.encode(), "c1"),
            configuration.OVERRIDES_FILE: File(OVERRIDES.encode(), "o1"),
        }
    )


@pytest.fixture
async def store(memory: Memory) -> AsyncIterator[MemoryStore]:
    async with MemoryStore("a", memory) as opened:
        yield opened


def no_edit(text: str) -> str:
    return text


def set_retry(text: str) -> str:
    return configuration.set_defaults(text, {"no-path-retry": "queue"})


async def test_files_that_are_not_there_are_empty_ones_and_want_nothing_on_any_node() -> None:
    async with MemoryStore("a") as store:
        current = await config.read(store)
    assert current == Current()
    assert current.wanted_digest is None
    assert current.digest == current.overrides_digest == configuration.digest(b"")


async def test_a_change_leaves_what_it_does_not_name(store: MemoryStore) -> None:
    await config.write(store, await config.plan(store, set_retry))
    current = await config.read(store)
    assert current.text == CFG.replace("no-path-retry 12", "no-path-retry queue")
    assert current.overrides == OVERRIDES


async def test_bytes_that_are_no_text_survive_a_change(store: MemoryStore, memory: Memory) -> None:
    memory.files[configuration.FILE] = File(b"# caf\xe9\n" + CFG.encode(), "c1")
    await config.write(store, await config.plan(store, set_retry))
    assert (await config.read(store)).content.startswith(b"# caf\xe9\n")


async def test_a_stale_digest_is_a_conflict_and_nothing_is_written(store: MemoryStore, memory: Memory) -> None:
    before = dict(memory.files)
    with pytest.raises(Conflict, match=r"multipath\.cfg was changed since it was read"):
        await config.plan(store, set_retry, digest="0" * 40)
    with pytest.raises(Conflict, match=r"multipath-overrides\.conf was changed"):
        await config.plan_overrides(store, "", digest="0" * 40)
    assert memory.files == before


async def test_what_changed_between_plan_and_write_is_a_conflict(store: MemoryStore, memory: Memory) -> None:
    planned = await config.plan(store, set_retry)
    memory.files[configuration.FILE] = File(b"# somebody else\n", "x2")
    before = dict(memory.files)
    with pytest.raises(Conflict, match="read it again"):
        await config.write(store, planned)
    assert memory.files == before


async def test_of_a_plan_for_both_files_nothing_is_written_when_one_changed(
    store: MemoryStore, memory: Memory
) -> None:
    planned = await config.plan_both(store, await config.read(store), "", "")
    memory.files[configuration.FILE] = File(b"# somebody else\n", "x2")
    before = dict(memory.files)
    with pytest.raises(Conflict, match=r"multipath\.cfg"):
        await config.write(store, planned)
    assert memory.files == before


async def test_a_change_of_the_other_file_meanwhile_is_no_conflict_and_stays(
    store: MemoryStore, memory: Memory
) -> None:
    planned = await config.plan(store, set_retry)
    memory.files[configuration.OVERRIDES_FILE] = File(b"# theirs\n", "o2")
    await config.write(store, planned, at_once=True)
    current = await config.read(store)
    assert current == Current(planned.after.content, b"# theirs\n")
    assert roll.decode(memory.files[roll.FILE].content) == roll.Roll(current.combined_digest, at_once=True)


async def test_a_lock_that_somebody_has_is_waited_for(store: MemoryStore, memory: Memory) -> None:
    planned = await config.plan(store, set_retry)
    async with MemoryStore("b", memory) as other, other.lock(configuration.FILE):
        writing = asyncio.create_task(config.write(store, planned))
        await asyncio.sleep(0)
        assert memory.files[configuration.FILE].revision == "c1"
    await writing
    assert (await config.read(store)).configuration.defaults == {"no-path-retry": "queue"}


async def test_of_two_writers_at_once_one_wins_and_one_hears_of_it(memory: Memory) -> None:
    async with MemoryStore("a", memory) as one, MemoryStore("b", memory) as other:
        plans = [await config.plan(each, edit) for each, edit in ((one, set_retry), (other, lambda _: ""))]
        outcomes = await asyncio.gather(
            config.write(one, plans[0]), config.write(other, plans[1]), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes if outcome] == [Conflict]
        assert (await config.read(one)) in [plan.after for plan in plans]


async def test_each_file_has_its_own_digest(store: MemoryStore) -> None:
    first = await config.read(store)
    await config.write(store, await config.plan(store, set_retry, digest=first.digest))
    await config.write(store, await config.plan_overrides(store, "", digest=first.overrides_digest))
    last = await config.read(store)
    assert last.overrides == ""
    assert last.combined_digest == last.digest


async def test_a_write_begins_the_roll_anew(store: MemoryStore, memory: Memory) -> None:
    memory.files[roll.FILE] = File(roll.encode(roll.Roll("old", failed={"b": "it died"})), "r1")
    planned = await config.plan(store, set_retry)
    await config.write(store, planned, at_once=True)
    assert roll.decode(memory.files[roll.FILE].content) == roll.Roll(planned.after.combined_digest, at_once=True)


async def test_a_node_that_failed_with_this_digest_meanwhile_stays_known(store: MemoryStore, memory: Memory) -> None:
    planned = await config.plan(store, set_retry)
    failed = roll.Roll(planned.after.combined_digest, failed={"b": "it died"})
    memory.files[roll.FILE] = File(roll.encode(failed), "r1")
    await config.write(store, planned)
    assert roll.decode(memory.files[roll.FILE].content) == failed


async def test_an_emptied_configuration_is_rolled_out_as_nothing(store: MemoryStore, memory: Memory) -> None:
    planned = await config.plan_both(store, await config.read(store), "", "")
    await config.write(store, planned)
    assert {name: file.content for name, file in memory.files.items() if name != roll.FILE} == {
        configuration.FILE: b"",
        configuration.OVERRIDES_FILE: b"",
    }
    assert roll.decode(memory.files[roll.FILE].content) == roll.Roll(None)


async def test_what_changes_nothing_writes_nothing(store: MemoryStore, memory: Memory) -> None:
    before = dict(memory.files)
    planned = await config.plan(store, no_edit)
    assert not planned.changes
    await config.write(store, planned)
    assert memory.files == before


@pytest.mark.parametrize(
    ("values", "delete", "names"),
    [
        ({"polling-interval": "0"}, (), "polling-interval"),
        ({"polling-interval": "abc"}, (), "polling-interval"),
        ({"no-such": "1"}, (), "no-such"),
        ({"find-multipaths": "greedy"}, (), "find-multipaths"),
        ({}, ("no-such",), "no-such"),
        ({"alias": "x"}, (), "alias"),
    ],
)
async def test_a_bad_value_is_refused_by_its_property(
    store: MemoryStore, values: dict[str, str], delete: tuple[str, ...], names: str
) -> None:
    with pytest.raises(BadValue, match=names):
        await config.plan(store, lambda text: configuration.set_defaults(text, values, delete))


async def test_a_lun_that_is_not_there_is_not_changed(store: MemoryStore) -> None:
    with pytest.raises(NotFound, match=OTHER):
        await config.plan(store, lambda text: configuration.set_alias(text, OTHER, "x"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("blacklist {\n", 1),
        ("# fine\ndefaults {\n}\n", 2),
        ("devices {\n\tdevice {\n\t\tvendor x\n\t\tproduct y\n\t\tfrobnicate 3\n\t}\n}\n", 5),
        ('blacklist {\n\tdevnode "^(sd[a"\n}\n', 2),
        ("nonsense {\n}\n", 1),
    ],
)
async def test_overrides_with_an_error_are_refused_with_its_line(
    store: MemoryStore, memory: Memory, text: str, line: int
) -> None:
    before = dict(memory.files)
    with pytest.raises(BadOverrides, match=f"line {line}: ") as refused:
        await config.plan_overrides(store, text)
    assert f"line {line}: " in refused.value.errors["content"]
    assert memory.files == before


async def test_trailing_blanks_of_overrides_are_trimmed_without_a_word(store: MemoryStore) -> None:
    planned = await config.plan_overrides(store, 'blacklist {  \n\tdevnode "^sdb$"\t\n}\n\n \n')
    assert planned.after.overrides == 'blacklist {\n\tdevnode "^sdb$"\n}\n'
    assert planned.warnings == ()


async def test_a_character_that_no_file_can_have_is_refused(store: MemoryStore) -> None:
    with pytest.raises(BadRequest, match="character 3"):
        await config.plan_overrides(store, "# \ud800")


@given(st.text())
def test_trimming_twice_is_trimming_once(text: str) -> None:
    once = config.trimmed(text)
    assert config.trimmed(once) == once
    assert once == "" or once.endswith("\n")


async def test_a_lun_that_the_overrides_hide_is_a_warning_of_either_change(store: MemoryStore) -> None:
    hides = f'blacklist {{\n\twwid "{OTHER}"\n}}\n'
    planned = await config.plan_overrides(store, hides)
    assert planned.warnings == ()
    await config.write(store, planned)
    planned = await config.plan(store, lambda text: configuration.add_wwid(text, OTHER))
    assert len(planned.warnings) == 1
    assert planned.warnings[0].startswith("overrides, line 2: ")


async def test_what_a_node_is_too_old_for_is_a_warning_that_names_it(store: MemoryStore, memory: Memory) -> None:
    for name, version in (("old", "0.9.4"), ("new", "0.11.1")):
        async with MemoryStore(name, memory) as other:
            said = {"multipathd": "running", "start": 0, "versions": {"multipath-tools": version}}
            await other.put(node.KEY, wire.stamp(said, 1))
    planned = await config.plan(store, lambda text: configuration.set_defaults(text, {"max-retries": "3"}))
    (warning,) = planned.warnings
    assert "max-retries" in warning
    assert warning.endswith("(on old)")


async def test_a_line_that_does_not_count_is_a_warning(store: MemoryStore, memory: Memory) -> None:
    memory.files[configuration.FILE] = File(b"defaults: defaults\n\tpolling-interval abc\n\n", "c1")
    (warning,) = (await config.plan(store, no_edit)).warnings
    assert warning.startswith("multipath.cfg, line 2: ")
    assert "no node applies it" in warning


@pytest.mark.parametrize(
    "setting",
    [{"no-path-retry": "queue"}, {"features": "1 queue_if_no_path"}, {"queue-without-daemon": "yes"}],
)
async def test_a_default_that_lets_io_wait_without_end_is_a_warning_of_the_change_that_sets_it(
    store: MemoryStore, setting: dict[str, str]
) -> None:
    planned = await config.plan(store, lambda text: configuration.set_defaults(text, setting))
    (warning,) = planned.warnings
    ((name, value),) = setting.items()
    assert warning.startswith(
        f"multipath.cfg, {name} {value} of the defaults: without any path, I/O waits without end"
    )
    await config.write(store, planned)
    later = await config.plan(store, lambda text: configuration.set_defaults(text, {"failback": "manual"}))
    assert later.warnings == ()


async def test_luns_that_are_to_queue_are_one_warning(store: MemoryStore) -> None:
    def many(text: str) -> str:
        for number in range(5):
            text = configuration.add_wwid(text, f"{OTHER[:-1]}{number + 2}", {"no-path-retry": "queue"})
        return text

    (warning,) = (await config.plan(store, many)).warnings
    assert f"{OTHER[:-1]}2, {OTHER[:-1]}3, {OTHER[:-1]}4 and 2 more" in warning


async def test_a_device_that_is_the_array_of_a_lun_is_known_by_what_nodes_publish(
    store: MemoryStore, memory: Memory
) -> None:
    said = {"multipathd": "running", "start": 0, "versions": {}, "arrays": {LUN[:8]: "NETAPP LUN C-Mode"}}
    memory.values["b"] = {node.KEY: wire.stamp(said, 1)}
    hides = 'blacklist {\n\tdevice {\n\t\tvendor "NETAPP"\n\t\tproduct "LUN.*"\n\t}\n}\n'
    (warning,) = (await config.plan_overrides(store, hides)).warnings
    assert f"this hides {LUN}" in warning


async def test_an_alias_is_given_once_be_it_by_the_overrides_or_the_clusters_luns(store: MemoryStore) -> None:
    named = f"multipaths {{\n\tmultipath {{\n\t\twwid {OTHER}\n\t\talias db\n\t}}\n}}\n"
    with pytest.raises(BadOverrides, match=f"db is the alias of {LUN} too"):
        await config.plan_overrides(store, named)
    await config.write(store, await config.plan_overrides(store, named.replace("db", "log")))
    with pytest.raises(BadRequest, match="alias: overrides, line 4: log is the alias of"):
        await config.plan(store, lambda text: configuration.set_alias(text, LUN, "log"))


async def test_a_lun_that_storages_use_is_removed_only_by_force(store: MemoryStore, memory: Memory) -> None:
    memory.files["storage.cfg"] = File(STORAGE.encode(), "s1")
    with pytest.raises(Busy, match="vg1, vg2"):
        await config.plan_removal(store, LUN)
    planned = await config.plan_removal(store, LUN, force=True)
    assert planned.after.configuration.wwids == {}


async def test_a_lun_that_nothing_uses_is_removed(store: MemoryStore) -> None:
    await config.write(store, await config.plan_removal(store, LUN))
    assert (await config.read(store)).configuration.wwids == {}


async def test_a_cleared_configuration_is_no_configuration(store: MemoryStore, memory: Memory) -> None:
    memory.files[configuration.OVERRIDES_FILE] = File(b"overrides {\n}\n", "o1")
    await config.write(store, await config.plan_clear(store))
    assert memory.files[configuration.FILE].content == b""
    assert memory.files[configuration.OVERRIDES_FILE].content == b""
    assert (await config.read(store)).wanted_digest is None
    assert not (await config.plan_clear(store)).changes


async def test_a_store_that_lost_the_configuration_is_told_that_there_is_to_be_none(memory: Memory) -> None:
    memory.files.clear()
    async with MemoryStore("a", memory) as store:
        await config.write(store, await config.plan_clear(store))
    assert memory.files[configuration.FILE].content == b""


async def test_a_configuration_whose_luns_storages_use_is_cleared_only_by_force(
    store: MemoryStore, memory: Memory
) -> None:
    memory.files["storage.cfg"] = File(STORAGE.encode(), "s1")
    with pytest.raises(Busy, match="vg1, vg2"):
        await config.plan_clear(store)
    assert (await config.plan_clear(store, force=True)).after == Current()


async def test_what_no_store_would_take_is_refused_before_anything_is_written(store: MemoryStore) -> None:
    with pytest.raises(ValueTooBig, match="a file of"):
        await config.plan(store, lambda text: text + "# more\n" * 100_000)


@pytest.mark.parametrize("version", ["", "garbage", "\x1b[2J", "9" * 5000, "0.9"])
async def test_a_version_that_a_peer_made_up_stops_nobody(store: MemoryStore, memory: Memory, version: str) -> None:
    said = {"multipathd": "running", "start": 0, "versions": {"multipath-tools": version}}
    memory.values["b"] = {node.KEY: wire.stamp(said, 1)}
    planned = await config.plan(store, set_retry)
    assert planned.changes


async def test_a_store_that_is_away_says_so(store: MemoryStore, memory: Memory) -> None:
    memory.lost = True
    with pytest.raises(StoreUnavailable):
        await config.read(store)


async def test_the_preview_shows_what_nodes_would_render_and_not_the_digest(store: MemoryStore) -> None:
    planned = await config.plan(
        store,
        lambda text: configuration.add_wwid(configuration.set_defaults(text, {"failback": "manual"}), OTHER),
    )
    changed = [line for line in preview.diff(planned) if line[0] in "+-" and line[:3] not in ("+++", "---")]
    assert changed == ['+\tfailback "manual"', f"+/{OTHER}/"]


async def test_the_preview_of_what_changes_nothing_is_empty(store: MemoryStore) -> None:
    assert preview.diff(await config.plan(store, no_edit)) == []
