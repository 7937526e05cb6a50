import falcon


class Hello:
    def on_get(self, request, response):
        response.media = {"hello": request.get_param("name")}


api = falcon.App()
api.add_route("/hello", Hello())
