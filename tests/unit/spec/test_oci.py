"""Image documents: what passes the border and what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.errors import EstivaError, Invalid, Unsupported
from estiva.spec import oci

SHA = "sha256:" + "a" * 64


def descriptor(media_type: str, **changes: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": SHA, "size": 3, **changes}


def manifest(**changes: Any) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": oci.OCI_MANIFEST,
        "config": descriptor(oci.OCI_CONFIG),
        "layers": [descriptor(oci.OCI_LAYER_GZIP)],
        "future": {"kept": True},
    }
    return json.dumps({**document, **changes}).encode()


def test_a_manifest_passes_with_its_unknown_keys() -> None:
    document, media_type = oci.check_document(manifest(), "", "x")
    assert media_type == oci.OCI_MANIFEST
    assert document["future"] == {"kept": True}


@pytest.mark.parametrize(
    ("document", "told", "media_type"),
    [
        ({"manifests": []}, "", oci.OCI_INDEX),
        ({"manifests": []}, oci.DOCKER_INDEX, oci.DOCKER_INDEX),
        ({"manifests": []}, "text/plain", oci.OCI_INDEX),
        ({"layers": []}, oci.DOCKER_MANIFEST, oci.DOCKER_MANIFEST),
        ({"layers": [], "mediaType": oci.DOCKER_MANIFEST}, oci.OCI_MANIFEST, oci.DOCKER_MANIFEST),
        ({"schemaVersion": 1}, "", oci.DOCKER_SCHEMA1),
    ],
)
def test_the_media_type_is_the_documents_own_before_the_servers(document, told, media_type) -> None:
    assert oci.media_type_of(document, told) == media_type


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (b"", Invalid, "not JSON"),
        (b"[]", Invalid, "not a JSON object"),
        (b"[" * 100_000, Invalid, "not JSON"),
        (b" " * (oci.MAX_MANIFEST + 1), Invalid, "more than 4 MiB"),
        (b'{"schemaVersion": 1}', Unsupported, "schema 1"),
        (b'{"mediaType": "application/x"}', Unsupported, "not known"),
        (manifest(config=None), Invalid, "config: not a descriptor"),
        (manifest(config=descriptor("application/vnd.helm")), Unsupported, "artifact"),
        (manifest(layers=None), Invalid, "layers: not a list"),
        (manifest(layers=[descriptor(oci.OCI_LAYER, size=-1)]), Invalid, r"layers\[0\]\.size"),
        (manifest(layers=[descriptor(oci.OCI_LAYER, size=True)]), Invalid, r"layers\[0\]\.size"),
        (manifest(layers=[descriptor(oci.OCI_LAYER, digest="sha256:../x")]), Invalid, r"layers\[0\]\.digest"),
        (manifest(layers=[descriptor(oci.OCI_LAYER + "+encrypted")]), Unsupported, "encrypted"),
        (manifest(layers=[descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")]), Unsupported, "ma"),
        (manifest(layers=[descriptor("text/plain")]), Unsupported, "not a file-system layer"),
        (manifest(annotations={"a": 1}), Invalid, "annotations"),
    ],
)
def test_a_bad_manifest_is_refused_naming_the_field(data: bytes, kind: type[EstivaError], text: str) -> None:
    with pytest.raises(kind, match=text):
        oci.check_document(data, oci.OCI_MANIFEST, "image x")


def config(**changes: Any) -> bytes:
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": [SHA]}, **changes}).encode()


def test_a_configuration_passes_and_must_name_as_many_layers_as_the_manifest() -> None:
    assert oci.check_config(config(), "x", 1)["os"] == "linux"
    with pytest.raises(Invalid, match=r"2 layers, but rootfs\.diff_ids names 1"):
        oci.check_config(config(), "x", 2)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rootfs": None}, "diff_ids"),
        ({"rootfs": {"diff_ids": ["sha256:x"]}}, "diff_ids"),
        ({"os": 1}, "os: not a string"),
        ({"config": {"Env": "A=b"}}, "config.Env: not a list"),
        ({"config": {"Cmd": [1]}}, "config.Cmd: holds something that is not a string"),
        ({"config": {"Labels": {"a": None}}}, "Labels"),
        ({"history": ["x"]}, "history"),
    ],
)
def test_a_bad_configuration_is_refused_naming_the_field(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(Invalid, match=text):
        oci.check_config(config(**changes), "x")


def test_gos_null_for_no_layers_is_an_empty_list() -> None:
    assert oci.check_config(config(rootfs={"diff_ids": None}), "x", 0)["rootfs"]["diff_ids"] == []


@pytest.mark.parametrize(
    ("media_type", "how"),
    [(oci.OCI_LAYER, ""), (oci.OCI_LAYER_GZIP, "gzip"), (oci.DOCKER_LAYER_GZIP, "gzip"), (oci.OCI_LAYER_ZSTD, "zstd")],
)
def test_a_layers_media_type_tells_its_compression(media_type: str, how: str) -> None:
    assert oci.compression(media_type) == how


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["mediaType", "config", "layers", "manifests", "digest", "size", "rootfs", "diff_ids"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_document_breaks_the_checks(document: object) -> None:
    data = json.dumps(document).encode()
    for check in (lambda: oci.check_document(data, "", "x"), lambda: oci.check_config(data, "x")):
        try:
            check()
        except EstivaError:
            pass
