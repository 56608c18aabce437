"""Why a run failed: text of logs and of the service in, a `Failure` out. Pure; knows no session and no service."""
