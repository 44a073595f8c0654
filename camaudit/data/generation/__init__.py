"""STACK-GEN: images of two subjects of one class, one above the other, made by a back end.

Import from the modules. What a back end is asked and answers stands in `request`.
"""
