"""What one property of multipathd may be: the kinds of values, and the error that refuses one."""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

from pathfleet.errors import BadRequest

Kind = Literal["boolean", "words", "number", "features", "text", "alias"]

_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")
_FEATURES = re.compile(
    r"([0-9]|1[0-9])((?: (?:queue_if_no_path|retain_attached_hw_handler|pg_init_(?:retries|delay_msecs) [0-9]{1,6}"
    r"|queue_mode (?:bio|rq|mq)))*)"
)
_ALIAS = re.compile(r"[A-Za-z0-9#+:=@_][A-Za-z0-9#+\-.:=@_]{0,126}")
_LIKE_A_WWID = re.compile(r"(?:[0-9]?[0-9a-fA-F]{16}|[0-9]?[0-9a-fA-F]{32}|(?:eui|naa|nvme|uuid)\..*)")


class BadValue(BadRequest):
    """A property is refused: it does not exist here, or `value` is not among what is `allowed`."""

    code = "bad-value"

    def __init__(self, property: str, value: str, allowed: str) -> None:  # noqa: A002
        shown = repr(value if len(value) <= 80 else value[:80] + "…")
        super().__init__({property: f"{shown} is refused; allowed: {allowed}"})
        self.property = property
        self.value = value
        self.allowed = allowed


class Property(Struct, frozen=True, rename="kebab"):
    """One property: what it may be, and what it is for.

    `words` are allowed for every kind, beside the numbers from `minimum` to `maximum` (in `unit`) or the texts that
    match `pattern`, which `form` puts into words. `default` is multipath's own, None if that depends on the device.
    `since` is the version of multipath-tools that brought it, None for one older than OLDEST; `newer_words` likewise.
    `fixed` is the only value that a cluster can live with. `deprecated` says what has become of it; from `until` on
    it is not even read.
    """

    name: str
    help: str
    kind: Kind = "words"
    words: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    unit: str | None = None
    pattern: str | None = None
    form: str | None = None
    default: str | None = None
    since: str | None = None
    newer_words: dict[str, str] = {}
    in_defaults: bool = True
    in_wwid: bool = False
    fixed: str | None = None
    deprecated: str | None = None
    until: str | None = None

    @property
    def keyword(self) -> str:
        """Its name in multipath.conf."""
        return self.name.replace("-", "_")

    @property
    def allowed(self) -> str:
        """What it may be, in words."""
        if self.fixed is not None:
            return f"`{self.fixed}` only"
        choices = [f"`{word}`" for word in self.words]
        if self.minimum is not None:
            unit = f" {self.unit}" if self.unit else ""
            choices.append(f"a number from {self.minimum} to {self.maximum}{unit}")
        return ", ".join([*choices, self.form] if self.form else choices)

    def read(self, value: str, *, wwid: str | None = None) -> str:
        """Return the value as it is written; `wwid` is the LUN that it is for. Raises BadValue."""
        if self.kind == "boolean":
            value = {"1": "yes", "0": "no"}.get(value, value)
        words = self.words if self.fixed is None else (self.fixed,)
        if value in words or (self.fixed is None and self._matches(value, wwid)):
            return value
        raise BadValue(self.name, value, self.allowed)

    def _matches(self, value: str, wwid: str | None) -> bool:
        if self.kind == "number":
            low, high = self.minimum, self.maximum
            return bool(_NUMBER.fullmatch(value)) and (low or 0) <= int(value) and (high is None or int(value) <= high)
        if self.kind == "features":
            found = _FEATURES.fullmatch(value)
            return found is not None and int(found[1]) == len(found[2].split())
        if self.kind == "alias":
            return bool(_ALIAS.fullmatch(value)) and (value == wwid or not _LIKE_A_WWID.fullmatch(value))
        return self.pattern is not None and re.fullmatch(self.pattern, value) is not None
