from shared_prices import monthly

rows = [{"month": 1, "price": 3}, {"price": 4}]
print(monthly(rows, 1))
