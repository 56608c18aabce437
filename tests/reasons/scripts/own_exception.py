class EmptyDay(RuntimeError):
    """A day without rows."""


def check(day, rows):
    if not rows:
        raise EmptyDay(f"{day} has no rows")


check("2026-11-09", [])
