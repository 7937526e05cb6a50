import mesop as me


@me.page(path="/")
def page():
    me.text("Hello from Mesop")
