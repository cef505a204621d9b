"""The sandbox primary: a small mail system of its own process, with mailboxes that people can look into."""
