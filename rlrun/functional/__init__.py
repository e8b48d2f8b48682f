"""The mathematics: pure functions on tensors, tested against numbers worked out by hand."""
