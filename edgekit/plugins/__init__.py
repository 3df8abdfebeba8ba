"""The plugin library: how it is built from plugins/, found and called.

Nothing is imported here: who only opens a library need not load what builds one.
"""
