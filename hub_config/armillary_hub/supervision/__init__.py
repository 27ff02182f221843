"""The deployment's own processes: which they are, how they are kept alive, and how all of them are ended.

supervisord keeps them running. People's servers, clusters and apps are not among them: the hub and the gateway
start those, and they outlive the death of whatever started them.
"""
