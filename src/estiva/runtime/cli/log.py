"""Messages for whoever called: lines as logrus writes them, which engines read back from the file of ``--log``."""

from __future__ import annotations

import os
import sys
import time

from estiva.spec import quickjson


class Log:
    """``path``: a file to append to, or ``""`` · ``as_json``: one object a line · ``verbose``: debug lines too ·
    ``given_away``: standard error is to be the container's.

    Failures go to standard error as well, in the user's words; the rest only where there is no file.  A warning then
    has nowhere to go if standard error is given away: engines would take it for the container's own words, and put it
    into its log.
    """

    __slots__ = ("as_json", "given_away", "path", "verbose")

    def __init__(self) -> None:
        self.path = ""
        self.as_json = self.verbose = self.given_away = False

    def to(self, path: str) -> None:
        """Write to the file *path* from now on, which is made here.  Raises OSError if nobody can."""
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644))
        self.path = path

    def error(self, text: str) -> None:
        text = text.replace("\n", "\\n")  # a path may have it; a failure is one line
        if self.path:
            self._append("error", text)
        sys.stderr.write(f"estiva-runtime: {text}\n")

    def warning(self, text: str) -> None:
        if self.path:
            self._append("warning", text)
        elif not self.given_away:
            sys.stderr.write(f"estiva-runtime: {text}\n")

    def debug(self, text: str) -> None:
        if self.verbose:
            if self.path:
                self._append("debug", text)
            else:
                sys.stderr.write(self._line("debug", text))

    def _line(self, level: str, text: str) -> str:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self.as_json:
            return quickjson.dumps({"level": level, "msg": text, "time": now}, separators=(",", ":")) + "\n"
        return f'time="{now}" level={level} msg={quickjson.quote(text)}\n'

    def _append(self, level: str, text: str) -> None:
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                os.write(fd, self._line(level, text).encode())
            finally:
                os.close(fd)
        except OSError as error:
            sys.stderr.write(f"estiva-runtime: writing the log {self.path}: {error.strerror}\n")
