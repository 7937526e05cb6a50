from django.urls import path
from ninja import NinjaAPI

api = NinjaAPI()


@api.get("/double")
def double(request, x: int):
    return {"result": x * 2}


urlpatterns = [path("api/", api.urls)]
