"""Live runs: started, followed and reconciled on one event loop. Knows neither magics nor the local service's code.

A start goes down once: `Session`, `Tracker`, ledger, client. A snapshot goes down once: `Watch`, `Run`, ledger and card.
"""
