import json

config = json.loads('{"bucket": "data"}')
print(config["prefix"])
