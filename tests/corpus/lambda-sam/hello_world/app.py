import json

from scoring import score


def lambda_handler(event, context):
    """Sample pure Lambda function"""
    if event["httpMethod"] == "POST":
        values = json.loads(event["body"])["values"]
        return {"statusCode": 200, "body": json.dumps({"score": score(values)})}
    return {"statusCode": 200, "body": json.dumps({"message": "hello world", "function": context.function_name})}
