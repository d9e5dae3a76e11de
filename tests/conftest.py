"""What every test can ask for: a world of its own, users, images, a registry, the command line, and a count of leaks.

Fixtures
    estiva          the command line, once as root and once as an ordinary user (tests run twice)
    estiva_root     the same, as root only            estiva_user    as an ordinary user only
    user            an ordinary user with subordinate ids        user_without_subids    one that has none
    busybox_oci     an OCI layout directory of a busybox image, reference "latest"
    busybox_archive the same image as `docker save` writes it
    debian_oci      an OCI layout of a small Debian with Python (slow to make once, then cached)
    registry        docker-registry on loopback, empty    make_registry    more of them, with passwords or TLS
    no_leaks        nothing may be left when the test ends
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import images, kernel
from helpers.accounts import Account, NoAccount, make_user, remove_user, root_account
from helpers.cli import Estiva
from helpers.isolation import WORLD
from helpers.leaks import Snapshot, leaked
from helpers.registry import Registry
from helpers.registry import available as registry_available


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--engine-runtime``: every system test with another OCI runtime than the engine's own."""
    parser.addoption("--engine-runtime", default="", metavar="NAME", help="the OCI runtime the engine is to use")


def pytest_configure(config: pytest.Config) -> None:
    """Enter the session's own world, before anything else is opened; under xdist each worker enters its own."""
    if config.option.engine_runtime:
        os.environ["ESTIVA_TEST_RUNTIME"] = config.option.engine_runtime
    starts_workers = bool(getattr(config.option, "numprocesses", None)) and not hasattr(config, "workerinput")
    if not starts_workers:
        WORLD.enter()


def pytest_unconfigure() -> None:
    """Leave it; processes that are still there are ended."""
    WORLD.leave()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs rights or programs that are not here, and say which."""
    if item.get_closest_marker("needs_root") and os.geteuid() != 0:
        pytest.skip("needs root")
    if item.get_closest_marker("needs_user") and os.geteuid() == 0 and not WORLD.etc_is_own:
        pytest.skip("needs an ordinary user, and none can be made here")
    if item.config.option.engine_runtime:
        skip_what_is_ours(item)


def skip_what_is_ours(item: pytest.Item) -> None:
    """Skip what another runtime does differently; the mark says how."""
    if mark := item.get_closest_marker("embedded"):
        pytest.skip(f"only the engine's own runtime: {mark.args[0]}")


@pytest.fixture(scope="session")
def world() -> Any:
    """The session's namespaces and cgroups (helpers.isolation.Isolation)."""
    return WORLD


@pytest.fixture(scope="session")
def public_directory() -> Iterator[Path]:
    """A directory of the session that every user can pass through, on a disk file system."""
    directory = Path(tempfile.mkdtemp(prefix="estiva-test-", dir=os.environ.get("ESTIVA_TEST_DIR", "/var/tmp")))
    directory.chmod(0o711)
    yield directory
    kernel.remove_tree(directory)


@pytest.fixture(scope="session")
def user(public_directory: Path) -> Iterator[Account]:
    """A real ordinary user with 65536 subordinate user and group ids."""
    try:
        account = make_user(public_directory)
    except NoAccount as reason:
        pytest.skip(str(reason))
    yield account
    remove_user(account)


@pytest.fixture(scope="session")
def user_without_subids(public_directory: Path) -> Iterator[Account]:
    """A real ordinary user without subordinate ids."""
    try:
        account = make_user(public_directory, subordinate_ids=False)
    except NoAccount as reason:
        pytest.skip(str(reason))
    yield account
    remove_user(account)


@pytest.fixture(scope="session")
def make_estiva(public_directory: Path) -> Callable[[Account], Estiva]:
    """A function that gives an account's command line on a new store; the caller closes it."""
    return lambda account: Estiva(account, public_directory)


def _checked(estiva: Estiva) -> Iterator[Estiva]:
    try:
        yield estiva
    finally:
        problems = estiva.close()
    assert not problems, "left behind:\n  " + "\n  ".join(problems)


@pytest.fixture
def estiva_root(make_estiva: Callable[[Account], Estiva], public_directory: Path) -> Iterator[Estiva]:
    """The command line as root on a store of its own; nothing may be left when the test ends."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    yield from _checked(make_estiva(root_account(public_directory)))


@pytest.fixture
def estiva_user(make_estiva: Callable[[Account], Estiva], user: Account) -> Iterator[Estiva]:
    """The same as an ordinary user."""
    yield from _checked(make_estiva(user))


@pytest.fixture(params=["root", "user"])
def estiva(request: pytest.FixtureRequest) -> Estiva:
    """The command line, once as root and once as an ordinary user."""
    chosen: Estiva = request.getfixturevalue(f"estiva_{request.param}")
    return chosen


@pytest.fixture
def no_leaks() -> Iterator[Snapshot]:
    """Nothing may be left when the test ends: mounts, cgroups, processes, namespaces, links."""
    before = Snapshot()
    yield before
    left = leaked(before)
    assert not left, "left behind:\n  " + "\n  ".join(left)


@pytest.fixture(scope="session")
def busybox_image() -> images.Image:
    """Busybox as plain data, to be written in any format."""
    try:
        return images.busybox_image()
    except FileNotFoundError as missing:
        pytest.skip(f"needs {missing}")


@pytest.fixture(scope="session")
def busybox_oci(busybox_image: images.Image, public_directory: Path) -> Path:
    """An OCI layout directory, reference ``latest``."""
    return busybox_image.oci(public_directory / "busybox.oci")


@pytest.fixture(scope="session")
def busybox_archive(busybox_image: images.Image, public_directory: Path) -> Path:
    """What ``docker save localhost/busybox:latest`` writes."""
    return busybox_image.docker_archive(public_directory / "busybox.tar", "localhost/busybox:latest")


@pytest.fixture(scope="session")
def debian_oci() -> Path:
    """An OCI layout of a minimal Debian with Python, reference ``latest``; cached between runs."""
    if not shutil.which("mmdebstrap"):
        pytest.skip("needs mmdebstrap")
    return images.debian_oci("bookworm", "python3-minimal")


@pytest.fixture
def make_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Registry]]:
    """A function that starts a registry (``basic_auth=True``, ``tls=True``); they end with the test."""
    if not registry_available():
        pytest.skip("needs docker-registry and skopeo")
    started: list[Registry] = []

    def make(**options: bool) -> Registry:
        started.append(Registry(tmp_path_factory.mktemp("registry"), **options))
        return started[-1]

    yield make
    for registry in started:
        registry.stop()


@pytest.fixture
def registry(make_registry: Callable[..., Registry]) -> Registry:
    """An empty registry without passwords or TLS."""
    return make_registry()
