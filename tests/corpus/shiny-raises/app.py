from shiny import App, ui

app_ui = ui.page_fluid(ui.output_text("price"))
prices = {"bread": 2}


def server(input, output, session):
    print(prices["milk"])


app = App(app_ui, server)
