"""Segmentation by networks that the tests make, against the same operations in numpy."""

import numpy as np
import pytest
from RealTimeImagingLib.Model.Errors import FrameError, MissingPackageError, SettingsError
from RealTimeImagingLib.Model.Frame import SCALAR_TYPES
from RealTimeImagingLib.Processing.BuiltIn.ONNXSegmentation import (
    REQUIREMENTS,
    ONNXSegmentation,
    SegmentationParameters,
    normalised,
)
from unit.processing import frame, head, image, oblique

MATRIX = oblique((2, 2, 3))


@pytest.fixture
def network(tmp_path):
    """Makes the file of a network: scores of the classes are ``weights * mean of the channels + biases``."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (pip install onnx onnxruntime)")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install onnx onnxruntime)")
    helper, types = onnx.helper, onnx.TensorProto

    def make(shape, weights=(-1.0, 1.0), biases=(0.0, 0.0), after=(), outputType=types.FLOAT, name="network.onnx"):
        channels = shape[1] if isinstance(shape[1], int) else 1
        kernel = np.repeat(np.reshape(weights, (-1, 1)), channels, 1) / channels
        kernel = kernel.reshape(*kernel.shape, *[1] * (len(shape) - 2)).astype(np.float32)
        nodes = [helper.make_node("Conv", ["image", "kernel", "biases"], ["scores"])]
        for number, (operation, values) in enumerate(after):
            nodes.append(helper.make_node(operation, [nodes[-1].output[0]], [f"after{number}"], **values))
        flat = any(values.get("keepdims") == 0 for _operation, values in after)
        sizes = [f"size{axis}" for axis in range(len(shape) - flat)]
        graph = helper.make_graph(
            nodes,
            "network",
            [helper.make_tensor_value_info("image", types.FLOAT, shape)],
            [helper.make_tensor_value_info(nodes[-1].output[0], outputType, sizes)],
            [
                helper.make_tensor("kernel", types.FLOAT, kernel.shape, kernel.ravel()),
                helper.make_tensor("biases", types.FLOAT, [len(biases)], biases),
            ],
        )
        path = tmp_path / name
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(made)
        path.write_bytes(made.SerializeToString())
        return str(path)

    make.types = types
    return make


def run(path, one, **parameters):
    function = ONNXSegmentation()
    function.setup(SegmentationParameters(model=path, **parameters), one)
    try:
        return function.process(one)
    finally:
        function.close()


def zscore(pixels):
    values = pixels.astype(np.float64)
    return (values - values.mean()) / values.std()


SHAPES = {
    "slices, any number": ["batch", 1, "rows", "columns"],
    "slices, one at once": [1, 1, "rows", "columns"],
    "slices, four at once": [4, 1, 20, 24],
    "volume": [1, 1, "slices", "rows", "columns"],
    "volume of a fixed size": [1, 1, 9, 20, 24],
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_slices_and_volumes_by_the_rank_of_the_input(network, shape):
    """Two classes: label 1 where the normalised value is above 0."""
    pixels = head((9, 20, 24), oblique((8, 8, 12)), noise=20)
    result = run(network(shape), frame(pixels, MATRIX))
    expected = zscore(pixels) > 0
    assert result.pixels.dtype == np.uint8
    np.testing.assert_array_equal(result.pixels, expected)
    assert result.values == {
        "Label 1 voxels": expected.sum(),
        "Label 1 volume": pytest.approx(expected.sum() * 12 / 1000),  # voxels of 2x2x3 mm
    }


@pytest.mark.parametrize("dtype", SCALAR_TYPES, ids=str)
def test_images_of_every_type(network, dtype):
    pixels = (head((6, 16, 16), oblique((9, 9, 9))).clip(0) / 10).astype(dtype)
    one = frame(pixels, MATRIX)
    result = run(network([1, 1, "k", "j", "i"]), one)
    np.testing.assert_array_equal(image(result, one).pixels, zscore(pixels) > 0)
    assert {type(value) for value in result.values.values()} == {int, float}


def test_the_label_is_the_class_with_the_highest_score(network):
    """Four classes of lines through thresholds: the highest line changes at -1, 0 and 1."""
    weights, biases = (0.0, 1.0, 2.0, 3.0), (0.0, 1.0, 1.0, 0.0)
    pixels = np.linspace(-2, 2, 9 * 7 * 5).reshape(5, 7, 9).astype(np.float32)
    result = run(network(["n", 1, "j", "i"], weights, biases), frame(pixels, MATRIX), normalisation="none")
    scores = np.array(weights)[:, None, None, None] * pixels + np.array(biases)[:, None, None, None]
    np.testing.assert_array_equal(result.pixels, scores.argmax(0))
    assert set(np.unique(result.pixels)) == {0, 1, 2, 3}
    for label in (1, 2, 3):
        assert result.values[f"Label {label} voxels"] == (scores.argmax(0) == label).sum()


@pytest.mark.parametrize(("activation", "number"), [("softmax", 0), ("softmax", 1), ("sigmoid", 1), ("none", 1)])
def test_probabilities_of_a_class(network, activation, number):
    pixels = np.linspace(-3, 3, 4 * 5 * 6).reshape(4, 5, 6).astype(np.float32)
    path = network([1, 1, "k", "j", "i"])
    result = run(
        path, frame(pixels), normalisation="none", activation=activation, output="probabilities", classNumber=number
    )
    score = pixels if number else -pixels
    expected = {"softmax": 1 / (1 + np.exp(-2 * score)), "sigmoid": 1 / (1 + np.exp(-score)), "none": score}[activation]
    assert result.pixels.dtype == np.float32
    np.testing.assert_allclose(result.pixels, expected, rtol=1e-5, atol=1e-6)


def test_one_class_has_a_threshold(network):
    pixels = np.linspace(-3, 3, 4 * 5 * 6).reshape(4, 5, 6).astype(np.float32)
    path = network([1, 1, "k", "j", "i"], (1.0,), (0.0,))
    values = {"normalisation": "none", "activation": "sigmoid"}
    probability = 1 / (1 + np.exp(-pixels))
    for threshold in (0.5, 0.9):
        np.testing.assert_array_equal(
            run(path, frame(pixels), threshold=threshold, **values).pixels, probability >= threshold
        )
    for number, expected in ((1, probability), (0, 1 - probability)):
        shown = run(path, frame(pixels), output="probabilities", classNumber=number, **values).pixels
        np.testing.assert_allclose(shown, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(FrameError, match="classes 0 to 1, not 7"):
        run(path, frame(pixels), output="probabilities", classNumber=7, **values)


@pytest.mark.parametrize("keep", [0, 1])
def test_a_network_that_returns_labels(network, keep):
    after = [("ArgMax", {"axis": 1, "keepdims": keep})]
    path = network(["n", 1, "j", "i"], after=after, outputType=network.types.INT64)
    pixels = head((5, 12, 12), oblique((9, 9, 9)), noise=20)
    result = run(path, frame(pixels))
    assert result.pixels.dtype == np.uint8
    np.testing.assert_array_equal(result.pixels, zscore(pixels) > 0)
    with pytest.raises(FrameError, match="Choose Show: Labels"):
        run(path, frame(pixels), output="probabilities")


def test_a_label_that_has_gone_has_no_voxels(network):
    path = network(["n", 1, "j", "i"])
    function = ONNXSegmentation()
    parameters = SegmentationParameters(model=path, normalisation="none")
    function.setup(parameters, frame(np.ones((1, 4, 4))))
    assert function.process(frame(np.ones((1, 4, 4)))).values["Label 1 voxels"] == 16
    assert function.process(frame(-np.ones((1, 4, 4)))).values == {"Label 1 voxels": 0, "Label 1 volume": 0}


def test_channels_are_the_colour_components(network):
    pixels = np.random.default_rng(0).integers(0, 255, (1, 8, 9, 3)).astype(np.uint8)
    result = run(network([1, 3, 8, 9], (0.0, 1.0), (0.5, 0.0)), frame(pixels), normalisation="byte")
    np.testing.assert_array_equal(result.pixels, pixels.astype(float).mean(-1) / 255 > 0.5)
    with pytest.raises(FrameError, match="expects 3 channels; the image has 1"):
        run(network([1, 3, 8, 9]), frame(pixels[..., 0]))


@pytest.mark.parametrize("shape", [[1, 1, 10, 12], [1, 1, 3, 10, 12]])
def test_a_network_of_a_fixed_size_gets_an_interpolated_image_and_the_result_lies_over_it(network, shape):
    """A ramp in space: linear interpolation keeps it, so the border of the label is where it was."""
    k, j, i = np.indices((6, 20, 24))
    points = np.stack([i, j, k, np.ones(i.shape)], -1) @ MATRIX.T
    centre = (MATRIX @ [11.5, 9.5, 2.5, 1])[:3]
    direction = MATRIX[:3, :3] @ np.linalg.inv(np.diag([2, 2, 3.0])) @ (1, 0.5, 0.2)
    ramp = ((points[..., :3] - centre) @ direction).astype(np.float32)
    one = frame(ramp, MATRIX)
    result = run(network(shape), one, normalisation="none", output="probabilities", classNumber=1)
    made = image(result, one)
    assert made.pixels.shape == ((6, 10, 12) if len(shape) == 4 else (3, 10, 12))
    k, j, i = np.indices(made.pixels.shape)
    places = np.stack([i, j, k, np.ones(i.shape)], -1) @ made.ijkToRAS.T
    np.testing.assert_allclose(made.pixels, (places[..., :3] - centre) @ direction, atol=1e-3)
    # Both cover the same space: the corners of the outer voxels.
    for matrix, size in ((MATRIX, (24, 20, 6)), (made.ijkToRAS, made.pixels.shape[::-1])):
        np.testing.assert_allclose(matrix @ [-0.5, -0.5, -0.5, 1], MATRIX @ [-0.5, -0.5, -0.5, 1])
        np.testing.assert_allclose(matrix @ [*(np.array(size) - 0.5), 1], MATRIX @ [23.5, 19.5, 5.5, 1])


def test_normalisations():
    image = np.array([np.nan, 0, 10, 20, 30, 50], np.float32)
    known = image[1:].astype(float)
    for name, expected in {
        "none": known,
        "zscore": (known - known.mean()) / known.std(),
        "range": known / 50,
        "byte": known / 255,
        "percentiles": np.clip((known - np.percentile(known, 1)) / np.ptp(np.percentile(known, (1, 99))), 0, 1),
    }.items():
        result = normalised(image, name)
        np.testing.assert_allclose(result[1:], expected, rtol=1e-6)
        assert result[0] == 0
        assert np.isfinite(normalised(np.full(3, 7, np.float32), name)).all()
        assert not normalised(np.full(3, np.nan, np.float32), name).any()


def test_another_network_is_loaded_and_the_same_is_kept(network):
    one = frame(np.ones((1, 4, 4)))
    path, other = network(["n", 1, "j", "i"]), network(["n", 1, "j", "i"], (1.0, -1.0), name="other.onnx")
    function = ONNXSegmentation()
    function.setup(SegmentationParameters(model=path, normalisation="none"), one)
    session = function._session
    function.setup(SegmentationParameters(model=path, normalisation="byte"), one)
    assert function._session is session
    assert function.process(one).pixels.all()
    function.setup(SegmentationParameters(model=other, normalisation="none"), one)
    assert not function.process(one).pixels.any()


def test_a_file_that_is_no_network_is_refused(network, tmp_path):
    one = frame(np.ones((1, 4, 4)))
    with pytest.raises(SettingsError, match="Choose the file"):
        run("", one)
    (tmp_path / "text.onnx").write_text("nothing")
    for name in ("text.onnx", "missing.onnx"):
        with pytest.raises(SettingsError, match=f"{name} cannot be loaded"):
            run(str(tmp_path / name), one)
    with pytest.raises(SettingsError, match=r"Expected are \(batch, channels, rows"):
        run(network([1, 1, 4]), one)


def test_a_missing_package_is_named(hidden, tmp_path):
    hidden("onnxruntime")
    with pytest.raises(MissingPackageError, match="needs onnxruntime") as caught:
        run(str(tmp_path / "network.onnx"), frame(np.ones((1, 4, 4))))
    assert caught.value.requirements == list(REQUIREMENTS)
