def main():
    rows = [1]
      print(rows)


main()
