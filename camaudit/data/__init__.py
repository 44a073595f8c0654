"""Photographs and how they become inputs: decoding, folders, STACK-MIX, labels, standardisation.

Import from the modules, for example ``from camaudit.data.stack_mix import stack_mix``. Nothing is
re-exported here and nothing below imports torch before it needs a tensor or a class name, so
``import camaudit.data`` stays cheap.
"""
