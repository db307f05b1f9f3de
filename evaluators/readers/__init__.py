"""Readers: engines that are installed here, asked whether they read what was exported for them.

One module an exporter, of the same name; its `plugin` is a function of the folder that was written,
which raises BadInput with the engine's own words.
"""
