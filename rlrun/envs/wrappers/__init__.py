"""Wrappers of one environment, by name: the entries of `env.wrappers`."""
