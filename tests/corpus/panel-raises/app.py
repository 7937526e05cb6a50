import panel as pn

pn.extension()
prices = {"bread": 2}
pn.Column("# Prices", str(prices["milk"])).servable()
