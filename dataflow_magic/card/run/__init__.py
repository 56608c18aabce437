"""The card of one run: its state, its HTML and text, its widgets."""
