from aiohttp import web


async def hello(request):
    return web.json_response({"hello": request.query.get("name", "world")})


async def make_app():
    app = web.Application()
    app.router.add_get("/", hello)
    return app


if __name__ == "__main__":
    web.run_app(make_app())
