SECRET_KEY = "not-a-secret-for-an-example"  # pragma: allowlist secret
DEBUG = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site_api.urls"
INSTALLED_APPS = []
MIDDLEWARE = []
WSGI_APPLICATION = "site_api.wsgi.application"
