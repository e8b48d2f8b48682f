"""One file a network: a `Config` and a subclass of `Torso`. A new network is a file and a YAML."""
