"""Where the log of a long-running command goes: to stderr, for a terminal or for the journal."""

from __future__ import annotations

import logging
import os

_LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"


def to_stderr(level: str) -> None:
    """Log `LEVEL logger event key=value`; under systemd with the priority that the journal understands."""
    journal = "JOURNAL_STREAM" in os.environ
    handler = logging.StreamHandler()
    handler.setFormatter(_JournalFormatter() if journal else logging.Formatter(_LINE))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    # a line for each question to etcd is only for who looks for a defect
    for client in ("httpx2", "httpcore2"):
        logging.getLogger(client).setLevel(logging.WARNING if level != "debug" else logging.DEBUG)


class _JournalFormatter(logging.Formatter):
    """Prefixes each line with its syslog priority (sd-daemon(3))."""

    def __init__(self) -> None:
        super().__init__("%(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        priority = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4}.get(record.levelno, 3)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())
