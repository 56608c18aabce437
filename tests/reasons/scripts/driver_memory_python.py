import resource

resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
rows = [bytes(64 << 20) for _ in range(100)]
print(len(rows))
