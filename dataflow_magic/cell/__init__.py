"""Text in: the line and the block of a magic become a request. Pure but for the user's own expressions; sends nothing."""
