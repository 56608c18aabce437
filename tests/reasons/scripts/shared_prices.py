def parse_price(text):
    amount, currency = text.split()
    return float(amount)


def monthly(rows, month):
    return [row for row in rows if row["month"] == month]
