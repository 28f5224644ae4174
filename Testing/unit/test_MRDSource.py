"""The MRD server: images as the package ismrmrd writes them, their volumes, streams, places and times."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime

import ismrmrd
import numpy as np
import pytest
from RealTimeImagingLib.Sources.MRD.Header import deviceTimeOf, headerXML, stampOf
from unit.mrd import (
    CENTRE,
    CLOSE,
    COLUMN,
    NORMAL,
    ROW,
    SPACING,
    Link,
    frameWorldPoints,
    header,
    image,
    packed,
    phantom,
    start,
    unpacked,
    worldPoints,
)


@pytest.fixture
def link(tmp_path):
    with closing(Link(tmp_path)) as made:
        yield made


def measure(link, images, text=None):
    """Send images as a measurement; return what came back."""
    with link.scanner() as scanner:
        scanner.send(start(header(3) if text is None else text) + packed(*images))
        scanner.finish()
    return scanner.back


def slices(number, count=3, order=None, **fields):
    """The slices of a volume."""
    pixels = phantom(number, count)
    return [image(pixels[k], index=k, count=count, **fields) for k in order or range(count)]


def shown(link):
    """Each frame: its stream and its pixels."""
    return [(one.stream, one.image.pixels) for one in link.arrivals]


def sameVolumes(link, numbers, count=3):
    found = [one.image.pixels for one in link.arrivals]
    wanted = [phantom(number, count) for number in numbers]
    return len(found) == len(wanted) and all(np.array_equal(one, two) for one, two in zip(found, wanted, strict=True))


# ---- pixels, places, and what comes back


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint32, np.float32, np.float64])
def test_every_type_arrives_whole_at_its_place_and_goes_back_unchanged(link, dtype):
    volumes = [phantom(number, dtype=dtype) for number in range(2)]
    sent = [image(one[k], index=k, count=3, repetition=n) for n, one in enumerate(volumes) for k in range(3)]
    back = measure(link, sent)
    assert back == packed(*sent) + CLOSE
    assert [one.data.tolist() for one in unpacked(back)] == [one.data.tolist() for one in sent]
    assert link.streams() == ["gre", "gre"]
    for arrival, pixels in zip(link.arrivals, volumes, strict=True):
        assert arrival.image.pixels.dtype == dtype
        np.testing.assert_array_equal(arrival.image.pixels, pixels)
        np.testing.assert_allclose(frameWorldPoints(arrival.image), worldPoints(*pixels.shape), atol=1e-4)


def test_integers_of_32_bits_have_32_bits_as_the_standard_says(link):
    pixels = phantom(1).astype(np.float32)
    raw = bytearray(packed(image(pixels)))
    raw[4] = 4  # data_type: MRD_INT
    raw[-pixels.nbytes :] = phantom(1, dtype="<i4").tobytes()
    with link.scanner() as scanner:
        scanner.send(start(header()) + bytes(raw))
        scanner.finish()
    assert sameVolumes(link, [1])
    assert link.arrivals[0].image.pixels.dtype == np.int32
    assert scanner.back == bytes(raw) + CLOSE


def test_a_volume_in_one_image_is_shown_at_once(link):
    with link.scanner() as scanner:
        scanner.send(start(header(1)) + packed(image(phantom(4))))
        link.until(lambda: link.arrivals)
        np.testing.assert_allclose(frameWorldPoints(link.arrivals[0].image), worldPoints(3, 5, 7), atol=1e-4)
        assert sameVolumes(link, [4])


def test_slices_against_the_cross_product_keep_their_order(link):
    pixels = phantom(1)
    sent = [
        image(pixels[k], index=k, slice_dir=tuple(-NORMAL), position=tuple(CENTRE - 4 * k * NORMAL)) for k in range(3)
    ]
    measure(link, sent)
    assert sameVolumes(link, [1])
    assert np.linalg.det(link.arrivals[0].image.ijkToRAS) < 0
    step = link.arrivals[0].image.ijkToRAS[:3, 2] * (-1, -1, 1)
    np.testing.assert_allclose(step, -4 * NORMAL, atol=1e-5)


def test_the_directions_of_a_flipped_image_are_in_its_meta_attributes(link):
    meta = {"ImageRowDir": [str(one) for one in COLUMN], "ImageColumnDir": [str(one) for one in ROW]}
    measure(link, [image(phantom(1), meta=meta)])
    matrix = link.arrivals[0].image.ijkToRAS[:3, :3] * [[-1], [-1], [1]]
    np.testing.assert_allclose(matrix[:, 0], SPACING[0] * COLUMN, atol=1e-5)
    np.testing.assert_allclose(matrix[:, 1], SPACING[1] * ROW, atol=1e-5)


@pytest.mark.parametrize(
    "values",
    [
        {"read_dir": (0, 0, 0), "field_of_view": (0, 0, 0)},
        {"read_dir": tuple(ROW + 0.2 * COLUMN)},
        {"slice_dir": tuple(NORMAL + 0.2 * ROW)},
        {"slice_dir": (float("nan"), 0, 0), "phase_dir": (float("inf"), 0, 0)},
    ],
    ids=["missing", "plane", "slices", "no number"],
)
def test_an_image_without_usable_directions_or_size_is_shown_and_named(link, values):
    measure(link, [image(phantom(1), **values)] * 2)
    assert sameVolumes(link, [1, 1])
    assert [one.subject for one in link.codes("no-geometry")] == ["gre"]


def test_without_sending_back_only_the_end_is_confirmed(tmp_path):
    with closing(Link(tmp_path, sendBack=False)) as link:
        assert measure(link, slices(1)) == CLOSE
        assert sameVolumes(link, [1])
        assert "sent back" not in link.codes("measurement-ended")[0].text


def test_meta_attributes_travel_along(link):
    sent = [
        image(phantom(1)[k], index=k, meta={"Role": ["Image", "AVE"], "Number": str(k), "My name": "ü <&> €"})
        for k in range(3)
    ]
    measure(link, sent)
    attributes = link.arrivals[0].image.attributes
    assert attributes["Role"] == "Image\\AVE"
    assert attributes["Number"] == '["0", "1", "2"]'
    assert attributes["My_name"] == "ü <&> €"


def test_numbers_of_the_header_are_attributes(link):
    measure(link, [image(phantom(1), image_series_index=2, repetition=7, user_int=(5, 0, 0, 0, 0, 0, 0, 1))])
    attributes = link.arrivals[0].image.attributes
    assert (attributes["MRD.image_series_index"], attributes["MRD.repetition"]) == ("2", "7")
    assert attributes["MRD.user_int"] == "5, 0, 0, 0, 0, 0, 0, 1"
    assert "MRD.user_float" not in attributes


# ---- streams


def test_series_kinds_contrasts_and_sets_are_streams(link):
    sent = [
        image(phantom(1)),
        image(phantom(2), image_series_index=3),
        image(phantom(3), image_type=ismrmrd.IMTYPE_PHASE),
        image(phantom(4), image_type=ismrmrd.IMTYPE_REAL, image_series_index=3),
        image(phantom(5), image_type=ismrmrd.IMTYPE_IMAG),
        image(phantom(6), contrast=1),
        image(phantom(7), set=2, contrast=1),
        image(phantom(8), slice=1),
    ]
    measure(link, sent)
    assert sameVolumes(link, range(1, 9))
    assert link.streams() == [
        "gre",
        "gre 3",
        "gre phase",
        "gre 3 real",
        "gre imaginary",
        "gre contrast 2",
        "gre contrast 2 set 3",
        "gre slab 2",
    ]


def test_channels_are_streams_and_rgb_is_colour(link):
    coils = np.stack([phantom(1), phantom(2)])
    colour = np.stack([phantom(one) % 256 for one in (3, 4, 5)])
    measure(link, [image(coils), image(colour, image_type=6, image_series_index=1)])
    found = dict(shown(link))
    assert list(found) == ["gre channel 1", "gre channel 2", "gre 1"]
    np.testing.assert_array_equal(found["gre channel 2"], phantom(2))
    assert found["gre 1"].dtype == np.uint8
    np.testing.assert_array_equal(found["gre 1"], np.moveaxis(colour, 0, -1))


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize(
    ("choice", "parts"),
    [
        ("magnitude", {"gre": np.abs}),
        ("phase", {"gre phase": np.angle}),
        ("both", {"gre": np.abs, "gre phase": np.angle}),
        ("parts", {"gre real": np.real, "gre imaginary": np.imag}),
    ],
)
def test_complex_images_are_shown_by_choice(tmp_path, dtype, choice, parts):
    pixels = (phantom(1) - 1j * phantom(2)).astype(dtype)
    sent = [image(pixels[k], index=k, count=3, image_type=ismrmrd.IMTYPE_COMPLEX) for k in range(3)]
    with closing(Link(tmp_path, complexAs=choice)) as link:
        assert measure(link, sent) == packed(*sent) + CLOSE
        found = dict(shown(link))
        assert list(found) == list(parts)
        for stream, values in parts.items():
            np.testing.assert_array_equal(found[stream], values(pixels))


def test_two_scanners_with_one_protocol_have_streams_of_their_own(link):
    with link.scanner() as first, link.scanner() as second:
        for scanner, number in ((first, 1), (second, 2), (first, 3)):
            scanner.send((start(header(1)) if number < 3 else b"") + packed(image(phantom(number))))
        link.until(lambda: len(link.arrivals) == 3)
        first.finish()
        second.finish()
    assert link.streams() == ["gre", "gre (2)", "gre"]
    measure(link, [image(phantom(4))])
    assert link.streams()[-1] == "gre"


# ---- volumes


def test_slices_in_any_order_become_volumes_at_the_last_one(link):
    with link.scanner() as scanner:
        scanner.send(start(header(3)))
        for number, order in enumerate([(1, 0, 2), (2, 1, 0)]):
            *first, last = slices(number, order=order, repetition=number)
            scanner.send(packed(*first))
            scanner.send(b"")
            link.read(0.05)
            assert len(link.arrivals) == number
            scanner.send(packed(last))
            link.until(lambda expected=number + 1: len(link.arrivals) == expected)
    assert sameVolumes(link, [0, 1])


def test_slices_of_later_repetitions_may_overtake(link):
    one, two = slices(0, repetition=0), slices(1, repetition=1)
    measure(link, [one[0], one[1], two[0], one[2], two[1], two[2]])
    assert sameVolumes(link, [0, 1])
    assert not link.codes("incomplete-volume")


def test_phases_slice_by_slice_become_volumes(link):
    each = [slices(number, phase=number) for number in range(4)]
    measure(link, [volume[k] for k in range(3) for volume in each])
    assert sameVolumes(link, range(4))


def test_a_lost_slice_is_named_and_zero_and_the_volumes_stay_in_order(link):
    each = [slices(number, repetition=number) for number in range(4)]
    del each[2][1]
    measure(link, [one for volume in each for one in volume])
    lacking = phantom(2)
    lacking[1] = 0
    assert sameVolumes(link, [0, 1]) is False
    for arrival, wanted in zip(link.arrivals, (phantom(0), phantom(1), lacking, phantom(3)), strict=True):
        np.testing.assert_array_equal(arrival.image.pixels, wanted)
        np.testing.assert_allclose(frameWorldPoints(arrival.image), worldPoints(3, 5, 7), atol=1e-4)
    (event,) = link.codes("incomplete-volume")
    assert event.text == "gre: the volume of repetition 2 lacks 1 of 3 slices. Zeros replace the slices 1."
    assert link.arrivals[2].image.attributes["MRD.missing_slices"] == "1"


def test_without_limits_the_next_repetition_ends_the_first_volume_only(link):
    with link.scanner() as scanner:
        scanner.send(start(header()) + packed(*slices(0, repetition=0), *slices(1, repetition=1)[:1]))
        link.until(lambda: len(link.arrivals) == 1)
        # From here on the number of slices is known.
        scanner.send(packed(*slices(1, repetition=1)[1:]))
        link.until(lambda: len(link.arrivals) == 2)
        scanner.send(packed(*slices(2, repetition=2)[1:]))
        scanner.finish()
    lacking = phantom(2)
    lacking[0] = 0
    np.testing.assert_array_equal(link.arrivals[2].image.pixels, lacking)
    assert len(link.arrivals) == 3
    assert len(link.codes("incomplete-volume")) == 1


def test_a_first_volume_that_was_too_short_corrects_itself(link):
    each = [slices(number, repetition=number) for number in range(4)]
    measure(link, [*each[0][:2], *each[1], *each[2], *each[3]], header())
    whole = [one.image.pixels for one in link.arrivals if len(one.image.pixels) == 3]
    np.testing.assert_array_equal(whole[-1], phantom(3))
    np.testing.assert_array_equal(whole[-2], phantom(2))
    sent = sum(len(one) for one in each) - 1
    kept = sum(len(one.image.pixels) - int(one.image.attributes.get("MRD.missing_slices", 0)) for one in link.arrivals)
    assert kept == sent


def test_the_same_slice_again_begins_a_volume(link):
    # A scanner that does not count repetitions.
    measure(link, [one for number in range(3) for one in slices(number)], header())
    assert sameVolumes(link, range(3))


def test_any_text_as_a_header_is_named(link):
    measure(link, slices(0), "Dummy XML header")
    assert sameVolumes(link, [0])
    assert "it is no XML" in link.codes("no-header")[0].text


def test_a_header_that_declares_too_many_slices_is_believed_once(link):
    with link.scanner() as scanner:
        scanner.send(start(header(9)) + packed(*slices(0, repetition=0)))
        link.read(0.05)
        assert not link.arrivals
        link.until(lambda: len(link.arrivals) == 1, passes=0.5)
        for number in (1, 2):
            scanner.send(packed(*slices(number, repetition=number)))
        link.until(lambda: len(link.arrivals) == 3)
    assert sameVolumes(link, range(3))
    (event,) = link.codes("incomplete-volume")
    assert event.text == "gre: the volume of repetition 0 lacks 6 of 9 slices."


def test_slices_that_wait_while_the_process_is_halted_belong_to_their_volume(link):
    """Also a large one, of which the system holds a part."""
    first, second, third = slices(0)
    last = packed(third)
    with link.scanner() as scanner:
        scanner.send(start(header()) + packed(first, second) + last[:99])
        link.until(lambda: "2 images" in link.source.status)
        for _halt in range(3):
            link.clock.now += 2.5
            link.read()
        scanner.send(last[99:])
        link.until(lambda: "3 images" in link.source.status)
        assert not link.arrivals
        link.until(lambda: link.arrivals, passes=0.5)
    assert sameVolumes(link, [0])


@pytest.mark.parametrize("other", [{"slice_dir": tuple(-NORMAL)}, {"dtype": np.float32}], ids=["side", "type"])
def test_a_slice_of_another_side_or_type_is_an_image_of_its_own(link, other):
    sent = slices(0)
    pixels = phantom(0)[1].astype(other.pop("dtype", np.int16))
    sent[1] = image(pixels, index=1, count=3, **other)
    measure(link, sent, header(3))
    assert sorted(len(one.image.pixels) for one in link.arrivals) == [1, 2]


def test_a_stop_delivers_the_incomplete_volume(link):
    with link.scanner() as scanner:
        scanner.send(start(header(3)) + packed(*slices(0)[:2]))
        link.until(lambda: link.source._sessions and "2 images" in link.source.status)
        for item in link.source.rest():
            link.take(item)
    np.testing.assert_array_equal(link.arrivals[0].image.pixels, phantom(0)[:2])
    assert link.codes("incomplete-volume")


def test_a_localizer_becomes_an_image_for_each_orientation(link):
    planes = [(ROW, COLUMN), (COLUMN, NORMAL), (NORMAL, ROW)]
    sent = []
    for index, (row, column) in enumerate(planes):
        directions = {"read_dir": tuple(row), "phase_dir": tuple(column), "slice_dir": tuple(np.cross(row, column))}
        sent.append(image(phantom(index, 1)[0], index=index, position=tuple(CENTRE), **directions))
    measure(link, sent)
    assert sameVolumes(link, range(3), 1)
    for arrival, (row, _column) in zip(link.arrivals, planes, strict=True):
        np.testing.assert_allclose(arrival.image.ijkToRAS[:3, 0] * (-1, -1, 1), SPACING[0] * row, atol=1e-5)


def test_slices_in_one_place_keep_their_numbers_and_are_named(link):
    measure(link, slices(1, position=tuple(CENTRE)))
    assert sameVolumes(link, [1])
    assert len(link.codes("uneven")) == 1
    np.testing.assert_allclose(np.linalg.norm(link.arrivals[0].image.ijkToRAS[:3, 2]), SPACING[2], atol=1e-5)


def test_incomplete_volumes_take_no_more_than_the_limit(tmp_path):
    with closing(Link(tmp_path, sizeLimit=4096)) as link, link.scanner() as scanner:
        big = np.zeros((20, 40), np.uint16)
        scanner.send(start(header(3)) + packed(*(image(big, index=0, repetition=one) for one in range(9))))
        link.until(lambda: "9 images" in link.source.status)
        assert len(link.arrivals) == 7
        assert "memory limit" in link.codes("incomplete-volume")[0].text


# ---- times


NOON = datetime(2024, 5, 6, 12, 0, 0).timestamp()


@pytest.mark.parametrize(
    ("stamp", "tick", "arrival", "expected"),
    [
        (12 * 3600 * 400, 2.5, NOON + 0.3, NOON),
        (12 * 3600 * 1000 + 7, 1.0, NOON + 0.3, NOON + 0.007),
        (0, 2.5, NOON, None),
        (12 * 3600 * 400, 0.0, NOON, None),
        (25 * 3600 * 400, 2.5, NOON, None),
        # Taken before midnight, received after it, and the other way round with clocks that differ.
        (24 * 3600 * 400 - 400, 2.5, NOON + 12 * 3600 + 1, NOON + 12 * 3600 - 1),
        (400, 2.5, NOON + 12 * 3600 - 1, NOON + 12 * 3600 + 1),
    ],
)
def test_time_stamps_are_ticks_since_midnight_of_the_nearest_day(stamp, tick, arrival, expected):
    assert deviceTimeOf(stamp, tick, arrival, None) == (None if expected is None else pytest.approx(expected, abs=1e-6))


def test_the_day_of_an_old_study_counts_but_not_that_of_last_night():
    noon = 12 * 3600 * 400
    old = datetime(2020, 1, 2)
    assert deviceTimeOf(noon, 2.5, NOON, old.date()) == datetime(2020, 1, 2, 12).timestamp()
    assert deviceTimeOf(noon, 2.5, NOON, datetime(2024, 5, 5).date()) == NOON
    assert stampOf(NOON + 0.005, 2.5) == noon + 2


def test_the_time_of_a_volume_is_that_of_its_first_slice(link):
    stamps = [12 * 3600 * 400 + one for one in (8, 4, 12)]
    text = header(3, extra="<studyInformation><studyDate>2020-01-02</studyDate></studyInformation>")
    measure(link, [slices(0, acquisition_time_stamp=stamps[k])[k] for k in range(3)], text)
    (arrival,) = link.arrivals
    assert arrival.image.deviceTime == pytest.approx(datetime(2020, 1, 2, 12, 0, 0, 10_000).timestamp(), abs=1e-6)
    assert arrival.image.attributes["MRD.acquisition_time_stamp"] == str(stamps)


# ---- raw data, waveforms, texts


def test_raw_data_are_counted_and_named_once(link):
    readout = ismrmrd.Acquisition.from_array(np.ones((4, 32), np.complex64), trajectory=np.zeros((32, 2), np.float32))
    with link.scanner() as scanner:
        scanner.send(start(header(3)) + packed(*3 * [readout]))
        link.until(lambda: "raw data only (3 readouts)" in link.source.status)
        scanner.send(packed(*slices(1)))
        link.until(lambda: link.arrivals)
        scanner.finish()
    assert sameVolumes(link, [1])
    assert len(link.codes("raw-data")) == 1
    assert "3 images received, 3 readouts of raw data, 3 sent back" in link.codes("measurement-ended")[0].text


def test_waveforms_and_texts_become_device_messages(link):
    samples = np.arange(8, dtype=np.uint32).reshape(2, 4) + 2**31
    wave = ismrmrd.Waveform.from_array(samples, waveform_id=1025, time_stamp=400, sample_time_us=2500.0)
    ecg = ismrmrd.Waveform.from_array(samples[:1], waveform_id=0)
    extra = "<waveformInformation><waveformId>1025</waveformId><waveformName>Belt</waveformName></waveformInformation>"
    with link.scanner() as scanner:
        scanner.send(start(header(3, extra=extra)) + packed(wave, ecg, '{"parameters": {}}'))
        scanner.finish()
    assert scanner.back == CLOSE
    config, head, belt, heart, text = link.messages
    assert (config.device, config.values) == ("MRD configuration", {"text": "test"})
    assert head.device == "MRD header"
    assert "gre" in head.values["text"]
    assert (belt.kind, belt.device, heart.device) == ("sensor", "Belt", "ECG")
    assert np.array_equal(np.reshape(belt.values["values"], (2, 4)), samples)
    assert (belt.attributes["Channels"], belt.attributes["SampleTimeMicroseconds"]) == ("2", "2500")
    assert datetime.fromtimestamp(belt.deviceTime).strftime("%H:%M:%S") == "00:00:01"
    assert heart.deviceTime is None
    assert text.values == {"text": '{"parameters": {}}'}


def test_the_header_that_is_sent_is_valid():
    found = ismrmrd.xsd.CreateFromDocument(headerXML("fMRI & more", (64, 48, 1), (192.0, 144.0, 3.0), 30))
    encoding = found.encoding[0]
    assert found.measurementInformation.protocolName == "fMRI & more"
    assert (encoding.reconSpace.matrixSize.x, encoding.reconSpace.fieldOfView_mm.z) == (64, 3.0)
    assert encoding.encodingLimits.slice.maximum == 29
