import json


def predict(features):
    return sum(features)


def lambda_handler(event, context):
    features = event.get("features") or json.loads(event["body"])["features"]
    return {"prediction": predict(features)}
