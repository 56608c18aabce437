"""The card of a sweep: its state, its HTML and text, its widgets."""
