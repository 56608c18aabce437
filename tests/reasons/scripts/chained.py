class LoadError(Exception):
    """Loading failed."""


def load(day):
    try:
        return {"2026-11-01": 3}[day]
    except KeyError as error:
        raise LoadError(f"the day {day} cannot be loaded") from error


load("2026-11-02")
