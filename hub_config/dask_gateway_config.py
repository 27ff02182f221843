import armillary_hub.clusters

c = get_config()
armillary_hub.clusters.configure(c)

# Your own lines go below, for example:
# c.PersonalBackend.max_workers_per_user = 4
# c.ClusterConfig.idle_timeout = 3600
