import json

print(json.loads("{'bucket': 'data'}"))
