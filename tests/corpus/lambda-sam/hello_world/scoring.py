WEIGHTS = [0.5, 2.0]


def score(values):
    return sum(weight * value for weight, value in zip(WEIGHTS, values))
