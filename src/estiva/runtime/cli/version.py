"""The versions of the specification that are carried out.  runtime-spec features.md"""

from __future__ import annotations

OCI_VERSION = "1.3.0"
OCI_VERSION_MIN = "1.0.0"
