"""Compare Estiva with Podman and runc: whole commands, in turn, in one run.

    python bench/run.py [CASE ...] [-n ROUNDS] [--only root|user] [--command PATH] [--json FILE]

Everything happens in namespaces and cgroups of its own, on stores below /var/tmp that are removed afterwards; root is
needed.  Podman runs with runc and the native overlay driver.  Medians are shown, the fastest run in brackets.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import cases  # noqa: E402
import runtimes  # noqa: E402
from cases import Field, Row  # noqa: E402
from engines import CONTAINERS_CONF, Engine, install, remove  # noqa: E402

from helpers.accounts import Account, make_user, remove_user, root_account  # noqa: E402
from helpers.images import busybox_image  # noqa: E402
from helpers.isolation import WORLD  # noqa: E402

CASES = {**cases.CASES, **runtimes.CASES}


def main() -> int:
    """Run the cases that were asked for; the exit code says whether every bar was reached."""
    options = _options()
    if os.geteuid() != 0:
        sys.exit("Error: running benchmarks: root is needed, to make namespaces and an ordinary user")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a time limit cleans up, too
    WORLD.enter()
    directory = Path(tempfile.mkdtemp(prefix="estiva-", dir=os.environ.get("ESTIVA_TEST_DIR", "/var/tmp")))
    directory.chmod(0o711)
    user = None
    engines: list[Engine] = []
    try:
        (directory / "containers.conf").write_text(CONTAINERS_CONF)
        command = options.command or install(directory, "/usr/bin/python3")
        user = make_user(directory)
        image = busybox_image()
        pairs = {}
        for account in (root_account(directory), user):
            label = "root" if account.uid == 0 else "user"
            if options.only in (None, label):
                pair = Engine("estiva", [str(command)], account, directory), _podman(account, directory)
                engines += pair
                pairs[label] = pair
                for engine in pair:
                    engine.load(image)
        rows = []
        for name in options.cases or CASES:
            print(f"{name} …", file=sys.stderr, flush=True)
            rows += CASES[name](Field(pairs, directory, image, options.rounds))
    finally:
        for engine in engines:
            engine.clear()
        if user:
            remove_user(user)
        remove(directory)
        WORLD.leave()
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) | {"ratio": row.ratio} for row in rows], indent=1))
    return int(any(row.verdict == "MISSED" for row in rows))


def _podman(account: Account, directory: Path) -> Engine:
    return Engine("podman", ["/usr/bin/podman", "--storage-driver", "overlay"], account, directory)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"some of {', '.join(CASES)} (all)")
    parser.add_argument("-n", dest="rounds", type=int, help="rounds of each case")
    parser.add_argument("--only", choices=("root", "user"), help="as one of the two accounts only")
    parser.add_argument("--command", type=Path, help="an installed estiva, instead of installing this checkout")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"unknown case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    return options


def table(rows: list[Row]) -> str:
    """The rows as text for a terminal, which is a Markdown table too."""
    lines = [("work", "estiva", "peer", "ratio", "bar", "dream", "")]
    for row in rows:
        least = [f" ({value:.0f})" if value else "" for value in row.least]
        bar = "" if row.bar is None else f"{row.bar:.2f}"
        if row.at_most is not None:
            bar += f", ≤ {row.at_most:.0f} {row.unit}"
        lines.append(
            (
                row.work, f"{row.ours:.1f} {row.unit}{least[0]}", f"{row.peer_name} {row.peer:.1f}{least[1]}",
                f"{row.ratio:.3f}", bar, "" if row.dream is None else f"{row.dream:.2f}", row.verdict,
            )
        )  # fmt: skip
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


if __name__ == "__main__":
    sys.exit(main())
