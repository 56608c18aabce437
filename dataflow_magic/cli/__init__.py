"""The terminal's door: the ``dataflow-magic`` command. Knows no IPython."""
