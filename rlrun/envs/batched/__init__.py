"""Environments as batched arithmetic on tensors: N copies cost little more than one."""
