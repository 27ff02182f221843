import armillary_hub

c = get_config()
armillary_hub.configure(c)

# Your own lines go below, for example:
# c.IdleCuller.timeout = 8 * 3600
# c.ArmillarySpawner.app_visitors = 50
