"""Stand-ins for packages of other tools. This folder is the last place where a worker looks for modules, so a project that
installs the package itself gets that one. Nothing else imports from here."""
