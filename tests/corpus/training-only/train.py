import json

weights = [sum(row) for row in ([1, 2], [3, 4])]
print(json.dumps(weights))
