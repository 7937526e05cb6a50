import cherrypy


class Root:
    @cherrypy.expose
    @cherrypy.tools.json_out()
    def double(self, x):
        return {"result": int(x) * 2}


if __name__ == "__main__":
    cherrypy.quickstart(Root())
