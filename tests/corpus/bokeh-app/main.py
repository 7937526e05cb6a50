from bokeh.layouts import column
from bokeh.models import Div, Slider
from bokeh.plotting import curdoc

slider = Slider(start=0, end=10, value=3, step=1, title="x")
shown = Div(text="three squared is 9")


def changed(attr, old, new):
    shown.text = f"{new} squared is {new * new}"


slider.on_change("value", changed)
curdoc().add_root(column(slider, shown))
curdoc().title = "Squares"
