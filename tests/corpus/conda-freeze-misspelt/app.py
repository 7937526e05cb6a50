import json
import os

import yaml
from flask import Flask

app = Flask(__name__)


@app.route("/")
def home():
    return yaml.safe_dump({"folder": os.path.basename(os.getcwd()), "json": json.dumps([1])})
