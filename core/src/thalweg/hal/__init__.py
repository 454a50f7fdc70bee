"""The hardware abstraction layer: drivers, devices, buffers, semaphores, command buffers, executables.

Mirrors IREE's HAL object for object. ABCs say what a driver implements; common code serves all. Imports
``thalweg.module`` and ``thalweg.plugin`` only; never ``ir``, ``compiler`` or ``codegen``.
"""
