import os

from flask import Flask

from model import predict

app = Flask(__name__)

with open(os.environ["LABELS"]) as file:
    labels = file.read().split()


@app.get("/predict/<int:number>")
def answer(number):
    return {"label": labels[predict(number)], "greeting": os.environ["GREETING"]}
