"""The notebook's door: magics, completion, and what `%dataflow_status` says. The only user of IPython's magics."""
