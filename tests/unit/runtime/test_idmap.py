from __future__ import annotations

from estiva.runtime.idmap import (
    IdMap,
    format_maps,
    mapping_programs,
    own_maps,
    parse_maps,
    subordinate_ids,
    to_outer,
)

OURS = own_maps(1000, [(100000, 65536)])


def test_subordinate_ids_are_found_by_name_and_by_number(tmp_path):
    file = tmp_path / "subuid"
    file.write_text("# comment\nann:100000:65536\n1000:200000:10\nbob:300000:65536\nann:bad:1\nann:400000:0\n")
    assert subordinate_ids(str(file), "ann", 1000) == [(100000, 65536), (200000, 10)]
    assert subordinate_ids(str(file), "", 7) == []
    assert subordinate_ids(str(tmp_path / "none"), "ann", 1000) == []


def test_the_users_namespace_has_the_user_as_root_and_all_ranges_after():
    assert own_maps(1000, [(100000, 65536), (300000, 5)]) == [
        IdMap(0, 1000, 1),
        IdMap(1, 100000, 65536),
        IdMap(65537, 300000, 5),
    ]
    assert own_maps(1000, []) == [IdMap(0, 1000, 1)]


def test_maps_are_written_as_the_kernel_reads_them():
    assert format_maps(OURS) == "0 1000 1\n1 100000 65536\n"
    assert parse_maps("         0       1000          1\n         1     100000      65536\n") == OURS
    assert to_outer(OURS, 33) == 100032
    assert to_outer(OURS, 70000) is None


def test_both_mapping_programs_are_needed(tmp_path):
    program = tmp_path / "newuidmap"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    found = mapping_programs(str(tmp_path))
    assert found is None or found[0] == str(program)
