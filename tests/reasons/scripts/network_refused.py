from urllib.request import urlopen

with urlopen("http://127.0.0.1:1/rates.json") as answer:
    print(answer.read())
