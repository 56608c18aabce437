"""What is shown: pure card states, their HTML and text, and the widgets. Knows no session, no client, no ledger."""
