with open("s3a://data/config.json") as file:
    print(file.read())
