import csv
from pathlib import Path

rows = list(csv.reader(Path("stations.csv").open()))
print(len(rows))
