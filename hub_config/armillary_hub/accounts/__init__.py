"""Who may sign in, how, and as which account: passwords, invitations, the People page, Unix accounts."""
