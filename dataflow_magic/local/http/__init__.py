"""The service's HTTP side: routes, gateway, request and response bodies, faults on demand. Knows no Spark."""
