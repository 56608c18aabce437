import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--month", required=True)
print(parser.parse_args().month)
