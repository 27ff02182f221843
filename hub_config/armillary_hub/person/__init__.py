"""What runs as the person, in the person's own server: its configuration and the guides in the home folder."""
