from wsgiref.simple_server import make_server

from pyramid.config import Configurator
from pyramid.view import view_config


@view_config(route_name="double", renderer="json")
def double(request):
    return {"result": int(request.params["x"]) * 2}


def main(global_config=None, **settings):
    config = Configurator(settings=settings)
    config.add_route("double", "/double")
    config.scan()
    return config.make_wsgi_app()


if __name__ == "__main__":
    server = make_server("0.0.0.0", 6543, main())
    server.serve_forever()
