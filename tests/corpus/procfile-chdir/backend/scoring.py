def score(values):
    return sum(values) / len(values)
