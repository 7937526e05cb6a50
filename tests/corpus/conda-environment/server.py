import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

import iniconfig


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({iniconfig.__name__: version("iniconfig")}).encode())


if __name__ == "__main__":
    HTTPServer(("0.0.0.0", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()
