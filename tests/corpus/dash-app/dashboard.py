from dash import Dash, Input, Output, callback, dcc, html

app = Dash(__name__)
app.layout = html.Div([dcc.Input(id="x", value="1"), html.Div(id="y")])


@callback(Output("y", "children"), Input("x", "value"))
def double(x):
    return str(2 * int(x))


if __name__ == "__main__":
    app.run(debug=True)
