"""Statistics in regions: voxels of spheres, boxes and label maps against a loop over voxels, and files of segments."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Model.Errors import SettingsError
from RealTimeImagingLib.Processing.BuiltIn.RegionStatistics import RegionParameters, RegionStatistics
from RealTimeImagingLib.Processing.Regions import Box, Labels, Regions, Sphere, readLabels, regionOf, regionsOf
from scipy.spatial.transform import Rotation
from unit.processing import frame, head, oblique, realSeries, writeVolume

SHAPE = (9, 14, 17)


def loop(inside, shape, ijkToRAS):
    """Indices of the voxels in a region, one voxel after the other."""
    found = []
    for number, (k, j, i) in enumerate(np.ndindex(shape)):
        if inside((ijkToRAS @ [i, j, k, 1])[:3]):
            found.append(number)
    return found


def reference(pixels, indices):
    """Mean, SD, min, max by the formulas."""
    values = [float(value) for value in pixels.ravel()[indices]]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return {"mean": mean, "SD": variance**0.5, "min": min(values), "max": max(values)}


def statistics(one, **parameters):
    function = RegionStatistics()
    function.setup(RegionParameters(**parameters), one)
    return function.process(one).values


@pytest.fixture
def volume():
    return frame(
        np.random.default_rng(3).normal(500, 90, SHAPE).astype(np.int16), oblique((2, 2.5, 3), origin=(20, -25, 5))
    )


def middle(one):
    return (one.ijkToRAS @ [*((np.array(one.pixels.shape[2::-1]) - 1) / 2), 1])[:3]


def test_a_sphere_a_rotated_box_and_labels_equal_a_loop_over_voxels(volume):
    centre = middle(volume)
    axes = Rotation.from_euler("xyz", (30, -40, 15), degrees=True).as_matrix()
    box = Box("Box", tuple(centre + 1), (11.0, 9.0, 13.0), tuple(axes.T.ravel()))
    sphere = Sphere("Sphere", tuple(centre - 2), 7.5)
    # A label map on another grid than the image.
    labelToRAS = oblique((3.1, 1.7, 2.3), angles=(-5, 9, 70), origin=(0, 0, 0), flip=False)
    labels = np.random.default_rng(1).integers(0, 3, (12, 15, 11)).astype(np.int16)
    labelToRAS[:3, 3] = centre - labelToRAS[:3, :3] @ ((np.array(labels.shape[::-1]) - 1) / 2)
    toLabel = np.linalg.inv(labelToRAS)

    def labelAt(point):
        index = np.floor((toLabel @ [*point, 1])[:3][::-1] + 0.5).astype(int)
        return labels[tuple(index)] if (index >= 0).all() and (index < labels.shape).all() else 0

    expected = {
        "Box": loop(lambda p: (np.abs(axes.T @ (p - centre - 1)) <= (5.5, 4.5, 6.5)).all(), SHAPE, volume.ijkToRAS),
        "Sphere": loop(lambda p: np.linalg.norm(p - centre + 2) <= 7.5, SHAPE, volume.ijkToRAS),
        "One": loop(lambda p: labelAt(p) == 1, SHAPE, volume.ijkToRAS),
        "Two": loop(lambda p: labelAt(p) == 2, SHAPE, volume.ijkToRAS),
    }
    regions = Regions([box, sphere, Labels(labels, labelToRAS, {1: "One", 2: "Two"})])
    found = regions.voxels(volume)
    assert {name: voxels.tolist() for name, voxels in found.items()} == expected
    assert all(len(voxels) > 50 for voxels in expected.values())
    assert regions.voxels(volume) is found

    function = RegionStatistics()
    function._regions = regions
    values = function.process(volume).values
    for name, voxels in expected.items():
        for statistic, value in reference(volume.pixels, voxels).items():
            assert values[f"{name} {statistic}"] == pytest.approx(value, rel=1e-12)


def test_a_region_stays_in_space_when_the_geometry_changes(volume):
    centre = tuple(middle(volume))
    moved = frame(volume.pixels, volume.ijkToRAS + np.array([[0, 0, 0, 4], [0] * 4, [0] * 4, [0] * 4]))
    other = frame(volume.pixels[:, ::2], volume.ijkToRAS @ np.diag([1, 2, 1, 1]))
    text = str(Sphere("A", centre, 8.0))
    function = RegionStatistics()
    function.setup(RegionParameters(regions=(text,)), volume)
    for one in (volume, moved, other, volume):
        expected = reference(
            one.pixels, loop(lambda p: np.linalg.norm(p - centre) <= 8, one.pixels.shape, one.ijkToRAS)
        )
        assert function.process(one).values["A mean"] == pytest.approx(expected["mean"], rel=1e-12)


def test_the_whole_image_is_the_region_without_another(volume):
    values = statistics(volume)
    assert values == {
        f"Image {name}": pytest.approx(value)
        for name, value in reference(volume.pixels, np.arange(volume.pixels.size)).items()
    }


def test_a_region_outside_of_the_image_is_NaN_and_a_single_voxel_has_no_SD(volume):
    place = tuple(volume.ijkToRAS[:3, 3])
    values = statistics(volume, regions=("Away: sphere 500 0 0 5", str(Sphere("One", place, 0.5))))
    assert all(np.isnan(values[f"Away {name}"]) for name in ("mean", "SD", "min", "max"))
    assert values["One mean"] == values["One min"] == values["One max"] == volume.pixels[0, 0, 0]
    assert np.isnan(values["One SD"])


def test_values_that_are_no_finite_numbers_do_not_count():
    pixels = np.array([[[1.0, np.nan, 3.0, np.inf, -np.inf]]])
    assert statistics(frame(pixels)) == {
        "Image mean": 2,
        "Image SD": pytest.approx(2**0.5),
        "Image min": 1,
        "Image max": 3,
    }
    assert np.isnan(statistics(frame(pixels[..., 3:]))["Image mean"])


def test_large_values_do_not_overflow():
    pixels = np.full((4, 4, 4), 65000, np.uint16)
    assert statistics(frame(pixels)) == {"Image mean": 65000, "Image SD": 0, "Image min": 65000, "Image max": 65000}


def test_an_image_in_colour_has_values_for_each_component():
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    pixels[..., 1] = 7
    values = statistics(frame(pixels), regions=("A: box 0 0 0 9 9 9",))
    assert (values["A red mean"], values["A green mean"], values["A blue max"]) == (0, 7, 0)
    assert len(values) == 12


number = st.floats(-1e4, 1e4).map(lambda value: round(value, 3))
positive = st.floats(0.01, 1e4).map(lambda value: round(value, 3))
name = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)
region = st.builds(Sphere, name, st.tuples(number, number, number), positive) | st.builds(
    Box,
    name,
    st.tuples(number, number, number),
    st.tuples(positive, positive, positive),
    st.just((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)) | st.just((0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)),
)


@given(region)
def test_a_region_is_the_region_of_its_text(made):
    assert regionOf(str(made)) == made


@pytest.mark.parametrize(
    "text",
    [
        *("", "Tumour", "Tumour:", "Tumour: ball 1 2 3 4", "Tumour: sphere 1 2 3", "Tumour: sphere 1 2 3 0"),
        *("Tumour: sphere 1 2 3 nan", "Tumour: box 1 2 3 4 5", "Tumour: box 1 2 3 4 5 -6", ": sphere 1 2 3 4"),
        "Tumour: sphere 1 2 three 4",
    ],
)
def test_a_text_that_is_no_region_is_refused_with_an_example(text):
    with pytest.raises(SettingsError, match="Tumour: sphere 10 -20 30 5"):
        regionOf(text)


def test_two_regions_of_one_name_are_refused():
    with pytest.raises(SettingsError, match="Two regions have the name A"):
        regionsOf(["A: sphere 1 2 3 4", "A: sphere 5 6 7 8"])


# ---- files


def segment(number, name, label, layer=0):
    return {
        f"Segment{number}_{key}": str(value)
        for key, value in {"Name": name, "LabelValue": label, "Layer": layer, "ID": f"Segment_{number}"}.items()
    }


@pytest.mark.parametrize("suffix", ["nrrd", "nii.gz", "mha"])
def test_a_label_map_in_a_file_is_where_it_was(tmp_path, volume, suffix):
    labels = (volume.pixels > 500).astype(np.int16) + (volume.pixels > 560)
    path = writeVolume(tmp_path / f"labels.{suffix}", labels, volume.ijkToRAS)
    values = statistics(volume, labels=path)
    for label in (1, 2):
        expected = reference(volume.pixels, np.flatnonzero(labels == label))
        assert values[f"Label {label} mean"] == pytest.approx(expected["mean"], rel=1e-12)
        assert values[f"Label {label} SD"] == pytest.approx(expected["SD"], rel=1e-12)


def test_segments_have_their_names_also_in_layers(tmp_path, volume):
    layers = np.zeros((*SHAPE, 2), np.uint8)
    layers[2:5, 2:5, 2:5, 0] = 1
    layers[6:8, 2:5, 2:5, 0] = 2
    layers[3:7, 3:7, 3:7, 1] = 1  # overlaps the first
    fields = {**segment(0, "Liver", 1), **segment(1, "Kidney", 2), **segment(2, "Tumour", 1, layer=1)}
    path = writeVolume(tmp_path / "segments.seg.nrrd", layers, volume.ijkToRAS, fields, vector=True)
    values = statistics(volume, labels=path)
    for name, (label, layer) in {"Liver": (1, 0), "Kidney": (2, 0), "Tumour": (1, 1)}.items():
        expected = reference(volume.pixels, np.flatnonzero(layers[..., layer] == label))
        assert values[f"{name} mean"] == pytest.approx(expected["mean"], rel=1e-12)


def test_a_file_that_is_no_label_map_is_refused(tmp_path, volume):
    noise = writeVolume(tmp_path / "noise.nrrd", volume.pixels + 0.5, volume.ijkToRAS)
    with pytest.raises(SettingsError, match="no whole numbers"):
        readLabels(noise)
    (tmp_path / "text.nrrd").write_text("nothing")
    for path in ("text.nrrd", "missing.nrrd"):
        with pytest.raises(SettingsError, match=f"{path} cannot be read"):
            readLabels(str(tmp_path / path))


def test_a_real_series_and_SimpleITKs_statistics(tmp_path):
    first, *_rest, last = realSeries()
    brain = (first.pixels > 400).astype(np.uint8)
    path = writeVolume(tmp_path / "brain.nii.gz", brain, first.ijkToRAS)
    for one in (first, last):
        peer = sitk.LabelStatisticsImageFilter()
        peer.Execute(sitk.GetImageFromArray(one.pixels), sitk.GetImageFromArray(brain))
        values = statistics(one, labels=path)
        expected = (peer.GetMean(1), peer.GetSigma(1), peer.GetMinimum(1), peer.GetMaximum(1))
        assert [values[f"Label 1 {name}"] for name in ("mean", "SD", "min", "max")] == pytest.approx(expected)


def test_a_phantom_and_SimpleITKs_statistics():
    pixels = head(noise=20)
    values = statistics(frame(pixels, oblique()))
    peer = sitk.StatisticsImageFilter()
    peer.Execute(sitk.GetImageFromArray(pixels))
    assert values["Image mean"] == pytest.approx(peer.GetMean())
    assert values["Image SD"] == pytest.approx(peer.GetSigma())
