import compileall
import os
import subprocess
import sys
from pathlib import Path

import pytest

from estiva import quickload

SOURCE = Path(quickload.__file__)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package named as ours, with the loader in it."""
    package = tmp_path / "estiva"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "sub" / "__init__.py").write_text("WHERE = __file__\n")
    (package / "sub" / "one.py").write_text("from estiva.sub import WHERE\nVALUE = 1\n")
    (package / "quickload.py").write_bytes(SOURCE.read_bytes())
    compileall.compile_dir(package, quiet=1)
    return package


def load(package: Path, then: str) -> str:
    """What a fresh interpreter prints that has imported ``estiva.sub.one`` by the bundle."""
    code = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r}); from estiva import quickload; "
        f"bundle = quickload.install(); import estiva.sub.one as one; import estiva.sub; {then}"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


REPORT = "print(type(one.__loader__).__name__, one.VALUE, one.WHERE, estiva.sub.__path__, bundle.stale)"


def test_without_a_bundle_modules_load_as_usual_and_one_is_written(package: Path):
    assert load(package, REPORT + "; bundle.renew()").startswith("SourceFileLoader 1 ")
    assert Path(quickload.bundle_path(str(package))).exists()
    assert [name for name in os.listdir(package / "__pycache__") if ".modules." in name] == []


def test_modules_and_packages_come_from_the_bundle_and_know_their_place(package: Path):
    quickload.write_bundle(str(package))
    sub = package / "sub"
    assert load(package, REPORT) == f"Bundle 1 {sub}/__init__.py ['{sub}'] False"


def test_a_changed_source_counts_and_makes_the_bundle_stale(package: Path):
    quickload.write_bundle(str(package))
    (package / "sub" / "one.py").write_text("from estiva.sub import WHERE\nVALUE = 22\n")
    assert load(package, REPORT).startswith("SourceFileLoader 22 ")
    assert load(package, REPORT + "; bundle.renew()").endswith("True")
    assert load(package, REPORT).startswith("Bundle 22 ")


@pytest.mark.parametrize("damage", [b"", b"\x05", b"\xff\xff\xff\x7f", b"\x04\0\0\0junk", b"\x01\0\0\0N"])
def test_a_damaged_bundle_is_as_none(package: Path, damage: bytes):
    Path(quickload.bundle_path(str(package))).write_bytes(damage)
    assert load(package, REPORT + "; bundle.renew()").startswith("SourceFileLoader 1 ")
    assert load(package, REPORT).startswith("Bundle 1 ")


def test_a_source_that_is_gone_is_missed(package: Path):
    quickload.write_bundle(str(package))
    (package / "sub" / "one.py").unlink()
    with pytest.raises(subprocess.CalledProcessError) as caught:
        load(package, REPORT)
    assert "No module named 'estiva.sub.one'" in caught.value.stderr
