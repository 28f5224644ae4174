"""The scene, the parameter node and slicer.util's ways with nodes."""

import numpy
import pytest
import slicerhost


@pytest.fixture
def volume(slicer, emptyScene):
    return slicer.util.addVolumeFromArray(numpy.arange(24, dtype="int16").reshape(2, 3, 4), name="Live")


def test_closing_fires_start_and_end_and_keeps_the_default_nodes(slicer, layout, volume):
    events = []
    scene = slicer.mrmlScene
    tags = [
        scene.AddObserver(scene.StartCloseEvent, lambda *_: events.append("start")),
        scene.AddObserver(scene.EndCloseEvent, lambda *_: events.append("end")),
    ]
    red = layout.sliceWidget("Red")
    red.mrmlSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
    colors, slices = (scene.GetNumberOfNodesByClass(f"vtkMRML{kind}Node") for kind in ("Color", "Slice"))
    slicerhost.closeScene()
    for tag in tags:
        scene.RemoveObserver(tag)
    assert events == ["start", "end"]
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLColorNode") == colors > 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLSliceNode") == slices >= 3
    assert scene.GetNumberOfNodesByClass("vtkMRMLViewNode") == 1
    assert red.mrmlSliceNode().GetScene() is scene
    assert not red.mrmlSliceCompositeNode().GetBackgroundVolumeID()


def test_a_view_shows_again_after_the_scene_was_closed(slicer, layout, emptyScene):
    slicerhost.closeScene()
    bright = slicer.util.addVolumeFromArray(numpy.full((8, 8, 8), 200, "uint8"))
    bright.CreateDefaultDisplayNodes()
    bright.GetDisplayNode().SetAutoWindowLevel(0)
    bright.GetDisplayNode().SetWindowLevel(200, 100)
    slicer.util.setSliceViewerLayers(background=bright, fit=True)
    layout.renderIfNeeded()
    assert layout.sliceWidget("Red").pixels()[80, 80].min() > 200


def test_arrays_are_views_and_batched_changes_are_one_event(slicer, volume):
    view = slicer.util.arrayFromVolume(volume)
    events = []
    tag = volume.AddObserver("ModifiedEvent", lambda *_: events.append(1))
    with slicer.util.NodeModify(volume):
        view[0, 0, 0] = 77
        volume.SetSpacing(2, 2, 2)
        volume.SetOrigin(1, 2, 3)
        slicer.util.arrayFromVolumeModified(volume)
    volume.RemoveObserver(tag)
    assert len(events) == 1
    assert slicer.util.arrayFromVolume(volume)[0, 0, 0] == 77
    assert slicer.util.getNode("Live") is volume


def test_the_parameter_node_is_a_singleton_that_survives_closing(slicer, emptyScene):
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    class SomeLogic(ScriptedLoadableModuleLogic):
        pass

    node = SomeLogic().getParameterNode()
    assert SomeLogic().getParameterNode() is node
    assert (node.GetAttribute("ModuleName"), node.GetSingletonTag()) == ("Some", "Some")
    slicerhost.closeScene()
    assert SomeLogic().getParameterNode().GetAttribute("ModuleName") == "Some"
    slicer.mrmlScene.RemoveNode(node)


def test_the_observation_mixin_adds_and_removes(slicer, volume):
    class Watcher(slicer.util.VTKObservationMixin):
        def __init__(self):
            slicer.util.VTKObservationMixin.__init__(self)
            self.seen = 0

        def onModified(self, caller, event):
            self.seen += 1

    watcher = Watcher()
    watcher.addObserver(volume, "ModifiedEvent", watcher.onModified)
    volume.Modified()
    watcher.removeObservers()
    volume.Modified()
    assert watcher.seen == 1


def test_the_node_selector_follows_the_scene(slicer, emptyScene):
    selector, got = slicer.qMRMLNodeComboBox(), []
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    selector.connect("currentNodeChanged(vtkMRMLNode*)", got.append)
    selector.setMRMLScene(slicer.mrmlScene)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "A")
    assert selector.nodeCount() == 1
    assert selector.currentNode() is None
    selector.setCurrentNode(node)
    assert (selector.currentNode(), selector.currentNodeID, got) == (node, node.GetID(), [*5 * [None], node])
    slicer.mrmlScene.RemoveNode(node)
    assert (selector.currentNode(), selector.currentNodeID, got[6:]) == (None, "", [None])
    added = selector.addNode()
    assert added.IsA("vtkMRMLScalarVolumeNode")
    assert selector.currentNode() is added
    selector.setMRMLScene(None)
