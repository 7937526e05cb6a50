import flet as ft


def main(page: ft.Page):
    page.title = "Counter"
    page.add(ft.Text("Hello from Flet"))


ft.run(main)
