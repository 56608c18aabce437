from pathlib import Path

Path("names.txt").write_bytes("김철수".encode("cp949"))
print(Path("names.txt").read_text(encoding="utf-8"))
