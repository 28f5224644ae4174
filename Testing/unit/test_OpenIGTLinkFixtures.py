"""The messages of the reference library, byte for byte: read, and written as they were."""

import json
from pathlib import Path

import pytest
from RealTimeImagingLib.OpenIGTLink import pack
from unit.openIGTLinkBytes import received

FIXTURES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "igtl-fixtures.json"
NAMES = [
    "bind",
    "capability",
    "colortable",
    "colortable2",
    "command",
    "commandFormat2",
    "image",
    "imgmeta",
    "lbmeta",
    "ndarray",
    "point",
    "polydata",
    "position",
    "positionFormat2",
    "sensor",
    "status",
    "string",
    "tdata",
    "tdataFormat2",
    "trajectory",
    "trajectoryFormat2",
    "transform",
    "transformFormat2",
    "videometa",
]


@pytest.fixture(scope="module")
def fixtures():
    if not FIXTURES.exists():
        pytest.skip(f"{FIXTURES.name} is not beside the repository (../shared/data)")
    return json.loads(FIXTURES.read_text())["fixtures"]


def test_every_fixture_is_tested(fixtures):
    assert set(NAMES) == set(fixtures)


@pytest.mark.parametrize("name", NAMES)
def test_a_fixture_is_read_and_written_byte_for_byte(fixtures, name):
    fixture = fixtures[name]
    wire = bytes.fromhex(fixture["wire_hex"])
    message = received(wire)
    assert message.message_type == fixture["type_id"]
    assert message.device_name == fixture["device_name"]
    assert message.header_version == fixture["version"]
    assert pack(message).hex() == wire.hex()
