from taipy.gui import Gui

value = 21
page = """
# Twice

<|{value}|slider|>

Twice is <|{value * 2}|>
"""

if __name__ == "__main__":
    Gui(page=page).run(title="Twice")
