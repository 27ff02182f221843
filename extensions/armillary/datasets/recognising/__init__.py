"""What files, addresses and names are, and which import fits them: told by looking, corrected by a person."""
