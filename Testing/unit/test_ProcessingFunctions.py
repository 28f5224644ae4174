"""Interface of the built-in processing functions: parameters, names, types of results, and their cost."""

import importlib
import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from RealTimeImagingLib.Model.Errors import FrameError, SettingsError
from RealTimeImagingLib.Model.Frame import SCALAR_TYPES
from RealTimeImagingLib.Model.Settings import checkFields, settingFields
from RealTimeImagingLib.Processing import Function
from RealTimeImagingLib.Processing.BuiltIn import NAMES
from RealTimeImagingLib.Processing.Function import Parameters
from unit.processing import frame, head, image, oblique

NETWORK = "ONNXSegmentation"
"""Has a test of its own, because it needs a network and onnxruntime."""


def load(name):
    """The module of a built-in function, as a process of its own imports it."""
    sys.modules.pop(f"RealTimeImagingLib.Processing.BuiltIn.{name}", None)
    return importlib.import_module(f"RealTimeImagingLib.Processing.BuiltIn.{name}")


@pytest.fixture(params=NAMES)
def function(request):
    return load(request.param)


@pytest.fixture(params=[name for name in NAMES if name != NETWORK])
def startable(request):
    """The module of a function that starts with its default parameters."""
    return load(request.param)


def test_a_built_in_function_is_a_function_file(function):
    assert callable(function.process)
    assert callable(function.setup)
    assert function.TITLE
    assert issubclass(function.PARAMETERS, Parameters)


def test_the_panel_and_the_command_line_can_use_the_parameters(function):
    checkFields(function.PARAMETERS)
    for field in settingFields(function.PARAMETERS):
        assert field.help.endswith((".", ")"))
    parameters = function.PARAMETERS()
    for chosen in choices(function.PARAMETERS):
        unused = function.PARAMETERS.unused(chosen)
        assert unused <= {field.name for field in settingFields(function.PARAMETERS)}
    assert parameters == function.PARAMETERS()


def choices(parameters):
    yield {}
    for field in settingFields(parameters):
        for value in field.setting.choices or ():
            yield {field.name: value}


def test_an_impossible_parameter_is_named(function):
    for field in settingFields(function.PARAMETERS):
        if field.setting.limits:
            with pytest.raises(SettingsError, match=field.name):
                function.PARAMETERS(**{field.name: field.setting.limits[1] + 1})


def test_the_example_of_the_interface_works():
    lines = Function.__doc__.split("\n\nNames that")[0].splitlines()[1:]
    module = {"__name__": "example"}
    exec(textwrap.dedent("\n".join(lines)), module)
    checkFields(module["PARAMETERS"])
    one = frame(np.arange(200, 224).reshape(2, 3, 4).astype(np.int16))
    module["setup"](module["PARAMETERS"](level=210.0), one)
    result = module["process"](one)
    assert result.values == {"voxels": 13}
    assert np.count_nonzero(image(result, one).pixels) == 13


@pytest.mark.parametrize("dtype", SCALAR_TYPES, ids=str)
def test_images_of_every_type_have_results_that_Slicer_shows(startable, dtype):
    volumes = [(head((16, 32, 32), oblique((6, 6, 6)), noise=3, seed=n).clip(0) / 10).astype(dtype) for n in range(3)]
    given = [frame(one, oblique((6, 6, 6)), number) for number, one in enumerate(volumes)]
    startable.setup(startable.PARAMETERS(), given[0])
    results = [startable.process(one) for one in given]
    assert results[-1] is not None
    for one, result in zip(given, results, strict=True):
        if result is None:
            continue
        assert all(np.isfinite(value) for value in result.values.values())
        assert {type(value) for value in result.values.values()} <= {int, float}
        if result.pixels is not None:
            assert result.pixels.dtype in SCALAR_TYPES
            assert image(result, one).pixels.shape == one.pixels.shape
            assert not np.shares_memory(result.pixels, one.pixels)


@pytest.mark.parametrize("name", ["TemporalSNR", "Difference", "RigidMotion", "PRFThermometry"])
def test_an_image_in_colour_is_refused_where_it_has_no_meaning(name):
    module = importlib.import_module(f"RealTimeImagingLib.Processing.BuiltIn.{name}")
    with pytest.raises(FrameError, match="in colour"):
        type(module.function)().process(frame(np.zeros((1, 4, 4, 3), np.uint8)))


def test_the_functions_are_imported_without_scipy_SimpleITK_and_onnxruntime():
    code = (
        "import sys, importlib\n"
        "from RealTimeImagingLib.Processing.BuiltIn import NAMES\n"
        "for name in NAMES: importlib.import_module('RealTimeImagingLib.Processing.BuiltIn.' + name)\n"
        "print(sorted({'scipy', 'SimpleITK', 'onnxruntime', 'slicer', 'qt', 'vtk'} & set(sys.modules)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert run.stdout == "[]\n"


def test_the_result_of_a_function_stays_when_the_next_image_comes(startable):
    given = [frame(head((16, 32, 32), oblique((6, 6, 6)), noise=5, seed=n), oblique((6, 6, 6)), n) for n in range(4)]
    startable.setup(startable.PARAMETERS(), given[0])
    results = [startable.process(one) for one in given[:3]]
    pixels = results[2].pixels
    if pixels is None:
        return
    before = pixels.copy()
    startable.process(given[3])
    np.testing.assert_array_equal(pixels, before)


COSTS = {
    "RegionStatistics": {"regions": ("A: sphere 0 0 0 30", "B: box 20 10 0 40 40 40")},
    "TemporalSNR": {},
    "Difference": {},
    "RigidMotion": {},
    "PRFThermometry": {"drift": "plane", "reference": ("Ref: sphere 0 0 0 30",)},
    "Averaging": {"count": 10},
    "SpatialFilter": {},
}


@pytest.mark.parametrize("name", COSTS)
def test_a_volume_takes_less_than_a_tenth_of_a_second_of_one_core(name):
    """64x64x30, the processor time of the fastest of several volumes; ``-s`` shows it."""
    module = importlib.import_module(f"RealTimeImagingLib.Processing.BuiltIn.{name}")
    function = type(module.function)()
    matrix = oblique((3, 3, 3.6), angles=(5, -8, 10), origin=(95, -95, -50))
    volumes = [frame(head(ijkToRAS=matrix, noise=10, seed=number), matrix, number) for number in range(6)]
    function.setup(module.PARAMETERS(**COSTS[name]), volumes[0])
    function.process(volumes[0])
    costs = []
    for volume in volumes[1:]:
        start = time.process_time()
        function.process(volume)
        costs.append(time.process_time() - start)
    print(f"{name}: {1000 * min(costs):.1f} ms ({1000 * np.median(costs):.1f} ms median)")
    assert min(costs) < 0.1
