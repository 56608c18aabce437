"""Where a run's time went: the stages of its Spark applications, by their event logs. Pure; knows no session and no card."""
