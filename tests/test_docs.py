"""The documents are complete: what can be typed, set or read stands in them."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from pathfleet.api.operation import Operation
from pathfleet.api.server import OPERATIONS
from pathfleet.cli import pathfleet
from pathfleet.core.health import Flag, Health
from pathfleet.core.node import Daemon
from pathfleet.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CLI = (DOCS / "reference/cli.md").read_text()
API = (DOCS / "reference/api.md").read_text()


def commands(group: click.Group = pathfleet, path: str = "pathfleet") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


@pytest.mark.parametrize(("name", "command"), [*commands()], ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_and_option_is_in_the_reference(name: str, command: click.Command) -> None:
    assert name in CLI
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    assert {option for option in options if option not in CLI} == set()


@pytest.mark.parametrize(("name", "command"), [*commands()], ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_explains_itself(name: str, command: click.Command) -> None:
    assert command.help, name


def test_every_setting_is_in_the_reference_with_its_variable() -> None:
    text = (DOCS / "reference/settings.md").read_text()
    for field in msgspec.structs.fields(Settings):
        assert f"`{field.encode_name}`" in text
        assert f"`PATHFLEET_{field.name.upper()}`" in text


@pytest.mark.parametrize("word", [*Flag, *Health, *Daemon])
def test_every_word_of_a_verdict_is_in_the_operations_or_wire_document(word: str) -> None:
    texts = (DOCS / "operations.md").read_text() + (DOCS / "reference/wire.md").read_text()
    assert f"`{word}`" in texts


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))], ids=str
)
def test_every_link_leads_to_a_file(document: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / link).exists(), link


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_is_in_the_reference(operation: Operation) -> None:
    lines = [line for line in API.splitlines() if re.search(rf"`?{re.escape(operation.path)}`", line)]
    assert any(re.search(rf"`{operation.method}[ `]", line) for line in lines)


def test_every_metric_is_in_the_reference() -> None:
    golden = (ROOT / "tests/api/metrics.txt").read_text()
    for name in re.findall(r"^# HELP (\S+)", golden, re.MULTILINE):
        last = name.removeprefix("pathfleet_multipath_device")
        assert f"`{name}`" in API or f"`{name}_info`" in API or f"`{last}`" in API, name


def test_the_makefile_has_the_commands_that_the_readme_names() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
