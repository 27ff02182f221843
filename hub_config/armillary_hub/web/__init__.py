"""What every web service of the hub shares: sign-in, errors, the house look, proxying and serving."""
