import armillary_hub

c = get_config()
armillary_hub.configure(c)
