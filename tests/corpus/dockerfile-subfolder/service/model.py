def predict(number):
    return number % 2
