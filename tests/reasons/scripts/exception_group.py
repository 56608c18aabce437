def day(n):
    raise ValueError(f"day {n} has no rows")


errors = []
for n in (1, 2):
    try:
        day(n)
    except ValueError as error:
        errors.append(error)
raise ExceptionGroup("two days failed", errors)
