"""Published apps: their releases, who may open them, their robot accounts, and the page that lists them."""

#: The hub group of all robot accounts: the service's power over servers and access reaches no further than it.
ROBOTS = "app-accounts"
