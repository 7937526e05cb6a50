import json
import os
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer

GREETING = os.environ["GREETING"]
TOKEN = os.environ["SERVICE_TOKEN"]

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with open(".streamlit/secrets.toml", "rb") as file:
            secrets = tomllib.load(file)
        body = {"greeting": GREETING, "port": os.environ["PORT"], "secret": secrets["word"], "token": TOKEN}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

if __name__ == "__main__":
    HTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
