import json

import tornado.ioloop
import tornado.web


class Double(tornado.web.RequestHandler):
    def post(self):
        self.write({"y": 2 * json.loads(self.request.body)["x"]})


def make_app():
    return tornado.web.Application([(r"/double", Double)])


if __name__ == "__main__":
    app = make_app()
    app.listen(8888)
    tornado.ioloop.IOLoop.current().start()
