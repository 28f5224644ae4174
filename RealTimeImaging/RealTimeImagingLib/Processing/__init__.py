"""Live processing: functions that compute images and values from the frames of a stream.

Function.py is the interface of a function file. BuiltIn/ has the functions that come with the module, one file each.
Registration, Regions and Grid serve several of them. Nothing here knows of Slicer or of the process around a function.
"""
