"""How answers are printed: tables for people, JSON and YAML for programs; the same words in each.

Everything leaves through `put`: what the output's encoding does not have becomes `?`, never an error.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby
from typing import Any, TypeVar

import click
import msgspec

F = TypeVar("F", bound=Callable[..., object])

FORMATS = ("table", "json", "yaml")

#: Words with their styles, one after the other; text from a device or a peer is not yet cleaned.
Line = Sequence[tuple[str, str]]

#: The colour of a word; the word itself always stands there too.
STYLES = {
    "optimal": "green",
    "degraded": "yellow",
    "failed": "bold red",
    "unknown": "magenta",
    "missing": "bold red",
    "usable": "green",
    "standby": "cyan",
    "down": "bold red",
    "running": "green",
    "not-running": "yellow",
    "not-installed": "yellow",
    "no-maps": "green",
    "cannot-tell": "magenta",
    "online": "green",
    "offline": "bold red",
    "ok": "green",
}


def output_option(*more: str) -> Callable[[F], F]:
    """Add `--output`, with further formats of the command's own."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice((*FORMATS, *more)),
        default="table",
        show_default=True,
        help="How to print the answer.",
    )


def show(document: object, output: str, table: Callable[[], None]) -> None:
    """Print a document as JSON or YAML, or else by `table`."""
    if output == "table":
        table()
        return
    plain = json.loads(msgspec.json.encode(document))
    put(json_text(plain) if output == "json" else yaml(plain).rstrip("\n"))


def put(text: str) -> None:
    """Print text and a line's end."""
    click.echo(text if is_unicode() else text.encode(_encoding(), "replace").decode(_encoding()))


def is_unicode() -> bool:
    """Whether every character can be printed."""
    return _encoding().lower().replace("-", "").startswith("utf")


def _encoding() -> str:
    return sys.stdout.encoding or "ascii"


def json_text(plain: object, indent: int | None = 2) -> str:
    """Return a JSON value as readable JSON, on one line without `indent`, without what would steer a terminal."""
    lines = json.dumps(plain, indent=indent, ensure_ascii=not is_unicode()).split("\n")
    return "\n".join(line if line.isprintable() else _escaped_where_needed(line) for line in lines)


def _escaped_where_needed(line: str) -> str:
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in line)


def print_table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of words; a word that has a style is coloured on a terminal.

    Not to a terminal, rows are as wide as they need to be: nothing is cut or wrapped that a program may read.
    """
    from rich.table import Table  # noqa: PLC0415 - 40 ms that JSON need not pay

    table = Table(
        title=None if title is None else _styled(title),
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    console = _console()
    rows = list(rows)
    for place, column in enumerate(columns):
        # A WWID is there to be copied: other columns give way first, as long as that leaves them half of the line.
        # What is longer, here as elsewhere, is folded: a name that is cut may be another one's.
        longest = max((len(row[place]) for row in rows), default=0)
        table.add_column(
            column,
            justify="right" if column in ("SIZE", "AGE", "PRI", "MAPS") else "left",
            width=max(len(column), min(longest, console.width // 2)) if column == "WWID" else None,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*[_styled(cell) for cell in row])
    with console.capture() as drawn:
        console.print(table)
    for line in drawn.get().splitlines():
        put(line.rstrip())


def print_line(text: str) -> None:
    """Print one line of plain words, which may have come from a device."""
    put(clean(text))


def print_lines(lines: Iterable[Line]) -> None:
    """Print lines of words in their styles; the styles only on a terminal."""
    if not sys.stdout.isatty():
        for line in lines:
            print_line("".join(text for text, _ in line).rstrip())
        return
    console = _console()
    with console.capture() as drawn:
        for line in lines:
            console.print(text_of(line), soft_wrap=True)
    for text in drawn.get().splitlines():
        put(text.rstrip())


def text_of(line: Line) -> Any:  # noqa: ANN401 - rich.text.Text, imported late
    """Return a line as rich's Text, neighbours of one style joined: a wide matrix has tens of thousands of words."""
    from rich.text import Text  # noqa: PLC0415 - likewise

    joined = [
        (clean("".join(text for text, _ in run)), style) for style, run in groupby(line, key=lambda word: word[1])
    ]
    return Text.assemble(*joined)


def terminal_width() -> int | None:
    """Return how many columns a line may have; None where the output is no terminal and lines may be any long."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def width_of(text: str) -> int:
    """Return how many columns text takes on a terminal."""
    from rich.cells import cell_len  # noqa: PLC0415 - likewise

    return len(text) if text.isascii() else cell_len(clean(text))


def cut(text: str, room: int, ellipsis: str) -> str:
    """Return text in at most `room` columns of a terminal, with the sign of what is left out."""
    text = clean(text)
    if width_of(text) <= room:
        return text
    text = text[:room]
    while width_of(text) > room - len(ellipsis):
        text = text[:-1]
    return f"{text}{ellipsis}"


def columns(rows: Sequence[Line], right: Collection[int] = ()) -> list[Line]:
    """Return rows of words, one to a column, with the columns aligned; `right` are the places set to the right."""
    widths = [
        max(map(width_of, column), default=0)
        for column in zip(*[[text for text, _ in row] for row in rows], strict=True)
    ]
    aligned: list[Line] = []
    for row in rows:
        line: list[tuple[str, str]] = []
        for place, ((text, style), width) in enumerate(zip(row, widths, strict=True)):
            blanks = " " * (width - width_of(text))
            line += [(blanks, ""), (text, style)] if place in right else [(text, style), (blanks, "")]
            line.append(("  ", ""))
        aligned.append(line[:-1])
    return aligned


def _console() -> Any:  # noqa: ANN401 - rich.console.Console, imported late
    from rich.console import Console  # noqa: PLC0415 - likewise

    terminal = sys.stdout.isatty()
    return Console(highlight=False, soft_wrap=False, width=None if terminal else 1000)


def _styled(cell: str) -> Any:  # noqa: ANN401 - rich.text.Text, imported late
    from rich.text import Text  # noqa: PLC0415 - likewise

    return Text(clean(cell), style=STYLES.get(cell.partition(" ")[0], ""))


def clean(text: str) -> str:
    """Return text without what would steer a terminal: a device chose some of it."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def size(size_bytes: int | None) -> str:
    """Return a size in binary units, exact where that is short (`32 GiB`, `1.5 TiB`)."""
    if size_bytes is None:
        return "?"
    for power, unit in ((5, "PiB"), (4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size_bytes >= 1024**power:
            return f"{size_bytes / 1024**power:.4g} {unit}"
    return f"{size_bytes} B"


_PLAIN_SCALAR = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_YAML_WORDS = frozenset(("true", "false", "yes", "no", "on", "off", "null", "y", "n"))


def yaml(value: object, indent: int = 0) -> str:
    """Return a JSON value as YAML 1.2, in block style; strings that could be taken for something else in quotes."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{_scalar(key)}:{_nested(item, indent)}" for key, item in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{pad}-{_item(item, indent)}" for item in value)
    return f"{pad}{_scalar(value)}\n"


def _nested(value: object, indent: int) -> str:
    if isinstance(value, dict | list) and value:
        return "\n" + yaml(value, indent + 1)
    return f" {_scalar(value)}\n"


def _item(value: object, indent: int) -> str:
    # a collection begins on the line of its dash, so its first indent gives way to `- `
    return " " + yaml(value, indent + 1).removeprefix("  " * (indent + 1))


def _scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN_SCALAR.fullmatch(value) and value.lower() not in _YAML_WORDS:
        return value
    return f'"{"".join(map(_escaped, value))}"' if isinstance(value, str) else json.dumps(value)


def _escaped(char: str) -> str:
    # YAML has no surrogate pairs, which is how JSON escapes what is beyond U+FFFF
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() else f"\\U{ord(char):08x}" if ord(char) > 0xFFFF else f"\\u{ord(char):04x}"
