"""Runs the program named by the first argument with its lines counted, for the commands that tests start.

    python -I -S covered.py .../estiva/__main__.py ARGUMENTS

``ESTIVA_TEST_COVERAGE`` is the directory the data goes to, ``ESTIVA_TEST_SITE`` where coverage.py is.
"""

from __future__ import annotations

import os
import runpy
import sys

sys.path.append(os.environ["ESTIVA_TEST_SITE"])

import coverage  # noqa: E402  (found only now)

here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
measured = coverage.Coverage(
    data_file=os.path.join(os.environ["ESTIVA_TEST_COVERAGE"], ".coverage"),
    data_suffix=f"command.{os.getuid()}.{os.getpid()}",
    config_file=os.path.join(here, "pyproject.toml"),
    source=[os.path.dirname(os.path.abspath(sys.argv[1]))],
)
# a command's standard error is looked at by tests
measured.set_option("run:disable_warnings", ["module-not-imported", "no-data-collected", "module-not-measured"])
exit_at_once = os._exit


def save_and_exit(code: int) -> None:
    """The command ends by os._exit; count first."""
    measured.stop()
    measured.save()
    exit_at_once(code)


os._exit = save_and_exit  # type: ignore[assignment]
sys.argv = sys.argv[1:]
measured.start()
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    measured.stop()
    measured.save()
