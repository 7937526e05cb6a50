from dash import Dash, Input, Output, callback, dcc, html

app = Dash(__name__)
server = app.server

app.layout = html.Div([dcc.Input(id="x", value=1, type="number"), html.Div(id="y")])


@callback(Output("y", "children"), Input("x", "value"))
def twice(x):
    return f"twice is {2 * x}"


if __name__ == "__main__":
    app.run(debug=True)
