"""Segmentation of each image by a neural network in the format ONNX, run by onnxruntime.

The first input of the model decides how images reach it:

- (batch, channels, rows, columns): slices, all at once or as many as the model's batch has;
- (batch, channels, slices, rows, columns): whole volumes.

A model with a fixed size gets images interpolated linearly to that size; the result has the geometry of that size.
Channels are the colour components. The first output is labels, or a score for each class:

- (batch, classes, ...): the label of a voxel is the class with the highest score, class 0 is the background. With one
  class, the label is 1 where the probability is at least the threshold.
- (batch, ...) or whole numbers: labels.

Values that are no finite numbers are 0 after the normalisation, and do not count in it. Label maps are uint8, or int32
above 255; probabilities are float32.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...Model.Errors import FrameError, MissingPackageError, SettingsError
from ...Model.Frame import Frame, Matrix, Pixels
from ...Model.Text import textsOf
from ..Function import Parameters, Result, about
from ..Grid import resampled

_ = textsOf(__file__)

Floats = npt.NDArray[np.floating[Any]]

TITLE = _("Segmentation (ONNX)")
REQUIREMENTS = ("onnxruntime>=1.17,<2",)
NORMALISATIONS = {
    "none": _("None"),
    "zscore": _("Mean 0, standard deviation 1"),
    "range": _("Minimum to maximum: 0 to 1"),
    "percentiles": _("1st to 99th percentile: 0 to 1"),
    "byte": _("Divide by 255"),
}
ACTIVATIONS = {"none": _("None"), "softmax": _("Softmax"), "sigmoid": _("Sigmoid")}
OUTPUTS = {"labels": _("Labels"), "probabilities": _("Probability of one class")}
INPUT_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
}


@dataclass(frozen=True)
class SegmentationParameters(Parameters):
    """Model, its input and its output."""

    model: str = field(default="", metadata=about(_("Model"), _("The file of the network (.onnx)."), path="file"))
    normalisation: str = field(
        default="zscore",
        metadata=about(
            _("Normalisation"),
            _("Change of the values before the network gets them; the same as in its training."),
            choices=NORMALISATIONS,
        ),
    )
    activation: str = field(
        default="none",
        metadata=about(
            _("Activation"),
            _("Turns the scores of the network into probabilities, if the network does not do so itself."),
            choices=ACTIVATIONS,
        ),
    )
    output: str = field(
        default="labels", metadata=about(_("Show"), _("Label map, or a probability from 0 to 1."), choices=OUTPUTS)
    )
    classNumber: int = field(
        default=1,
        metadata=about(_("Class"), _("Number of the class whose probability is shown, from 0."), limits=(0, 1000)),
    )
    threshold: float = field(
        default=0.5,
        metadata=about(
            _("Threshold"),
            _("Lowest probability of the label, for networks with one class."),
            limits=(0, 1),
            decimals=3,
            advanced=True,
        ),
    )
    threads: int = field(
        default=0,
        metadata=about(
            _("Threads"), _("Processor cores that the network may use. 0: all."), limits=(0, 256), advanced=True
        ),
    )

    @classmethod
    def unused(cls, values: Mapping[str, Any]) -> set[str]:
        """Return the class beside labels, and the threshold beside probabilities."""
        return {"classNumber"} if values.get("output") == "labels" else {"threshold"}


class ONNXSegmentation:
    """One loaded network."""

    def __init__(self) -> None:
        self._parameters = SegmentationParameters()
        self._session: Any = None
        self._highest = 0

    def setup(self, parameters: SegmentationParameters, first: Frame) -> None:
        """Load the network, unless it is loaded.

        :raises MissingPackageError: onnxruntime is not installed.
        :raises SettingsError: no model is chosen, or it cannot be loaded.
        """
        before, self._parameters = self._parameters, parameters
        if not parameters.model:
            raise SettingsError(_("Choose the file of the network (.onnx)."))
        if self._session is None or (before.model, before.threads) != (parameters.model, parameters.threads):
            self.close()
            self._session = loadModel(parameters.model, parameters.threads)

    def process(self, frame: Frame) -> Result:
        """Return the label map or probabilities, and voxels and volume (ml) of each label.

        :raises FrameError: the image or the network's output has another shape than expected.
        """
        given = self._session.get_inputs()[0]
        channels, shape = given.shape[1], frame.pixels.shape[:3]
        if isinstance(channels, int) and channels != frame.components:
            raise FrameError(
                _("The network expects {channels} channels; the image has {components}.").format(
                    channels=channels, components=frame.components
                )
            )
        # A name or None stands for any size.
        sizes = (None, *given.shape[2:])[-3:]
        wanted = tuple(size if isinstance(size, int) else own for size, own in zip(sizes, shape, strict=True))
        image, ijkToRAS = _channels(frame, wanted)
        image = normalised(image, self._parameters.normalisation).astype(INPUT_TYPES[given.type], copy=False)
        scores = self._slices(given, image) if len(given.shape) == 4 else self._volume(given, image)
        if scores.shape[-3:] != wanted:
            raise FrameError(
                _("The network returns {found} voxels for an image of {wanted}.").format(
                    found=scores.shape[-3:], wanted=wanted
                )
            )
        return self._result(scores, ijkToRAS)

    def _slices(self, given: Any, image: Floats) -> Pixels:
        """Return the output for slices: (classes, k, j, i), or (k, j, i) for labels."""
        slices = np.moveaxis(image, 0, 1)
        count = len(slices)
        batch = given.shape[0] if isinstance(given.shape[0], int) else count
        # The last batch is filled up with repeated slices.
        slices = slices[np.minimum(np.arange(-(-count // batch) * batch), count - 1)]
        parts = [self._run(given, slices[start : start + batch]) for start in range(0, len(slices), batch)]
        output = np.concatenate(parts)[:count]
        return np.moveaxis(output, 1, 0) if output.ndim == 4 else output

    def _volume(self, given: Any, image: Floats) -> Pixels:
        output: Pixels = self._run(given, image[np.newaxis])[0]
        return output

    def _run(self, given: Any, batch: Floats) -> Pixels:
        output: Pixels = self._session.run(None, {given.name: np.ascontiguousarray(batch)})[0]
        if output.ndim not in (len(given.shape), len(given.shape) - 1):
            raise FrameError(
                _("The network returns {found} axes for {expected} axes of its input.").format(
                    found=output.ndim, expected=len(given.shape)
                )
            )
        return output

    def _result(self, output: Pixels, ijkToRAS: Matrix) -> Result:
        isLabels = output.ndim == 3 or (len(output) == 1 and output.dtype.kind in "iu")
        if isLabels:
            labels = output if output.ndim == 3 else output[0]
            classes = 1
        else:
            probabilities = _activated(output.astype(np.float32), self._parameters.activation)
            classes = len(probabilities)
            if classes == 1:
                labels = probabilities[0] >= self._parameters.threshold
            else:
                labels = np.argmax(probabilities, axis=0)
        labels = np.rint(labels).astype(np.int32) if labels.dtype.kind == "f" else labels.astype(np.int32)
        # A label that has gone has 0 voxels, not no value.
        self._highest = max(self._highest, classes - 1, int(labels.max()), 1)
        millilitres = float(abs(np.linalg.det(ijkToRAS[:3, :3]))) / 1000
        values: dict[str, float] = {}
        for label in range(1, self._highest + 1) if self._highest < 100 else np.unique(labels[labels > 0]).tolist():
            voxels = int(np.count_nonzero(labels == label))
            values[f"Label {label} voxels"] = voxels
            values[f"Label {label} volume"] = voxels * millilitres
        if self._parameters.output == "labels":
            fits = not np.any((labels < 0) | (labels > 255))
            return Result(labels.astype(np.uint8) if fits else labels, values, ijkToRAS=ijkToRAS)
        number = self._parameters.classNumber
        if isLabels:
            raise FrameError(_("The network returns labels, no probabilities. Choose Show: Labels."))
        # With one class, class 1 is the label and class 0 the rest.
        if classes == 1 and number < 2:
            shown = probabilities[0] if number else 1 - probabilities[0]
        elif number < classes:
            shown = probabilities[number]
        else:
            raise FrameError(
                _("The network has the classes 0 to {last}, not {number}.").format(
                    last=max(classes - 1, 1), number=number
                )
            )
        return Result(np.ascontiguousarray(shown), values, ijkToRAS=ijkToRAS)

    def close(self) -> None:
        """Release the network."""
        self._session, self._highest = None, 0


def loadModel(path: str, threads: int) -> Any:
    """Return a session of onnxruntime.

    :param threads: processor cores to use; 0 for all.
    :raises MissingPackageError: onnxruntime is not installed.
    :raises SettingsError: the file is no model, or its input has another shape or type than expected.
    """
    name = os.path.basename(path)
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError(
            _("Segmentation needs onnxruntime, which Slicer does not include."), REQUIREMENTS
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(path, options, providers=onnxruntime.get_available_providers())
    except Exception as error:  # its errors have no common base
        raise SettingsError(
            _("The network {name} cannot be loaded: {reason}").format(name=name, reason=str(error))
        ) from error
    given = session.get_inputs()[0]
    if len(given.shape) not in (4, 5) or given.type not in INPUT_TYPES:
        raise SettingsError(
            _(
                "The network {name} has an input of shape {shape} and {type}. Expected are (batch, channels, rows, "
                "columns) or (batch, channels, slices, rows, columns)."
            ).format(name=name, shape=given.shape, type=given.type)
        )
    return session


def normalised(image: Floats, normalisation: str) -> Floats:
    """Return an image with normalised values, see NORMALISATIONS; values that are no finite numbers become 0."""
    finite = np.isfinite(image)
    known = image[finite]
    low, scale = 0.0, 1.0
    if known.size and normalisation == "zscore":
        low, scale = float(known.mean(dtype=np.float64)), float(known.std(dtype=np.float64))
    elif known.size and normalisation in ("range", "percentiles"):
        low, high = np.percentile(known, (0, 100) if normalisation == "range" else (1, 99))
        scale = float(high - low)
    elif normalisation == "byte":
        scale = 255.0
    result = (image - image.dtype.type(low)) / image.dtype.type(scale or 1.0)
    if normalisation == "percentiles":
        result = np.clip(result, 0, 1)
    result[~finite] = 0
    return result


def _channels(frame: Frame, wanted: tuple[int, ...]) -> tuple[Floats, Matrix]:
    """Return the components of a frame on a grid of a size, (channels, k, j, i) float32, and the grid's geometry."""
    pixels = frame.pixels.reshape(*frame.pixels.shape[:3], frame.components).astype(np.float32)
    parts = np.moveaxis(pixels, -1, 0)
    shape = pixels.shape[:3]
    if wanted == shape:
        return parts, frame.ijkToRAS
    # The borders of the outer voxels stay in place.
    steps = np.array(shape[::-1]) / np.array(wanted[::-1])
    scaling = np.diag([*steps, 1.0])
    scaling[:3, 3] = (steps - 1) / 2
    target = frame.ijkToRAS @ scaling
    return np.stack([resampled(part, frame.ijkToRAS, wanted, target, order=1) for part in parts]), target


def _activated(scores: npt.NDArray[np.float32], activation: str) -> npt.NDArray[np.float32]:
    if activation == "softmax":
        powers = np.exp(scores - scores.max(axis=0))
        return np.asarray(powers / powers.sum(axis=0), np.float32)
    if activation == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-np.clip(scores, -80, 80))), np.float32)
    return scores


PARAMETERS = SegmentationParameters
function = ONNXSegmentation()
setup, process, close = function.setup, function.process, function.close
